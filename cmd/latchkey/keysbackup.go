package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"latchkey/authcore/secret"
	"latchkey/authcore/store/backup"
	"latchkey/configs"
)

// A backup never holds the server keys. With -with-keys they go into a second file, under a passphrase, which comes from
// a file or the terminal and never from the command line, where every process of the machine could read it.

// passphrase asks for it, twice where it is new.
func passphrase(file string, fresh bool) (secret.String, error) {
	if file != "" {
		return (configs.Upstream{SecretFile: file}).Secret()
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return secret.String{}, misused("there is no terminal to ask for the passphrase: name a -passphrase-file")
	}
	defer tty.Close()
	first, err := ask(tty, "Passphrase of the server keys: ")
	if err != nil || !fresh {
		return first, err
	}
	again, err := ask(tty, "Once more: ")
	if err == nil && !first.Equal(again) {
		err = errors.New("the two passphrases differ")
	}
	return first, err
}

// ask reads a line that is not shown (termios(3)).
func ask(tty *os.File, prompt string) (secret.String, error) {
	fd := int(tty.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return secret.String{}, fmt.Errorf("ask for the passphrase: %w", err)
	}
	quiet := *was
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return secret.String{}, fmt.Errorf("ask for the passphrase: %w", err)
	}
	defer func() {
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, was)
		fmt.Fprintln(tty)
	}()
	fmt.Fprint(tty, prompt)
	line, err := bufio.NewReader(io.LimitReader(tty, 4096)).ReadString('\n')
	if err != nil {
		return secret.String{}, fmt.Errorf("ask for the passphrase: %w", err)
	}
	return secret.New(strings.TrimRight(line, "\r\n")), nil
}

// backupKeys writes the keys that a backup needs into a new file.
func backupKeys(cfg *configs.Config, path, backupFile string, pass secret.String) error {
	keys, err := secret.Load(cfg.Keys)
	if err != nil {
		return err
	}
	if err := backupNeeds(backupFile, keys, cfg.Keys); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".latchkey-keys-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(keys.Encrypt(f, pass), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // refuses to overwrite
		return err
	}
	return syncDir(filepath.Dir(path))
}

func backupNeeds(backupFile string, keys *secret.Keys, from string) error {
	f, err := os.Open(backupFile)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := backup.NewReader(f)
	if err != nil {
		return err
	}
	return lackKeys(keys, r.Header().Keys, from)
}

// restoreKeys puts the keys of a backup in their place, where no others may be.
func restoreKeys(cfg *configs.Config, path, backupFile string, pass secret.String) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	keys, err := secret.Decrypt(f, pass)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := backupNeeds(backupFile, keys, path); err != nil {
		return err
	}
	err = keys.Create(cfg.Keys)
	if errors.Is(err, secret.ErrKeysExist) {
		return fmt.Errorf("%w: move it away, or leave -with-keys out", err)
	}
	return err
}
