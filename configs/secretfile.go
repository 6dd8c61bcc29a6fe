package configs

import (
	"fmt"
	"io"
	"os"
	"strings"

	"latchkey/authcore/secret"
)

// maxSecret bounds a file with one secret in it: a token of an HTTP server is the longest, and has less than that.
const maxSecret = 4096

// Secret reads the upstream's secret.
func (u Upstream) Secret() (secret.String, error) { return ReadSecret(u.SecretFile) }

// Secret reads the secret that the provider knows us by.
func (p Provider) Secret() (secret.String, error) { return ReadSecret(p.SecretFile) }

// ReadSecret reads the secret in a file. It is empty where no file is named. An error names the file and never what is in
// it.
func ReadSecret(file string) (secret.String, error) {
	if file == "" {
		return secret.String{}, nil
	}
	if err := private(file); err != nil {
		return secret.String{}, err
	}
	f, err := os.Open(file)
	if err != nil {
		return secret.String{}, err
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return secret.String{}, fmt.Errorf("read %s: %w", file, err)
	}
	if len(p) > maxSecret {
		return secret.String{}, fmt.Errorf("%s has over %d bytes: it must hold one line", file, maxSecret)
	}
	line, _, _ := strings.Cut(string(p), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return secret.String{}, fmt.Errorf("%s is empty: its first line is the secret", file)
	}
	return secret.New(line), nil
}

// private refuses what others than owner and group may read, and what would never end.
func private(file string) error {
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no plain file", file)
	}
	if st.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("%s has mode %04o, so that everybody may read or change it: run chmod o= on it", file, st.Mode().Perm())
	}
	return nil
}
