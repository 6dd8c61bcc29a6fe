package secret

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// Bounds of a file of keys under a passphrase.
const (
	maxKeysFile   = 1 << 20 // far more than 16 keys of each kind
	MinPassphrase = 12      // bytes: whoever has the file guesses at his own speed
	workFactor    = 18      // of scrypt: about a second and 256 MiB, as age has it
)

// ErrPassphrase: the file is not one of server keys under this passphrase.
var ErrPassphrase = errors.New("cannot be opened with this passphrase, or is damaged")

// Encrypt writes the keys under a passphrase (age, scrypt), for a backup in another place than the store's.
func (k *Keys) Encrypt(w io.Writer, passphrase String) error {
	if len(passphrase.Reveal()) < MinPassphrase {
		return fmt.Errorf("server keys: a passphrase has %d characters at least", MinPassphrase)
	}
	p, err := k.marshal()
	if err != nil {
		return err
	}
	to, err := age.NewScryptRecipient(passphrase.Reveal())
	if err != nil {
		return fmt.Errorf("server keys: %w", err)
	}
	to.SetWorkFactor(workFactor)
	sealed, err := age.Encrypt(w, to)
	if err != nil {
		return fmt.Errorf("server keys: encrypt: %w", err)
	}
	if _, err := sealed.Write(p); err != nil {
		return fmt.Errorf("server keys: encrypt: %w", err)
	}
	if err := sealed.Close(); err != nil {
		return fmt.Errorf("server keys: encrypt: %w", err)
	}
	return nil
}

// Decrypt reads what Encrypt wrote; ErrPassphrase when it is not that.
func Decrypt(r io.Reader, passphrase String) (*Keys, error) {
	from, err := age.NewScryptIdentity(passphrase.Reveal())
	if err != nil {
		return nil, fmt.Errorf("server keys: %w", err)
	}
	from.SetMaxWorkFactor(workFactor)
	plain, err := age.Decrypt(io.LimitReader(r, maxKeysFile), from)
	if err != nil {
		return nil, fmt.Errorf("server keys: %w", ErrPassphrase)
	}
	p, err := io.ReadAll(io.LimitReader(plain, maxKeysFile))
	if err != nil {
		return nil, fmt.Errorf("server keys: %w", ErrPassphrase)
	}
	return parseKeys(p)
}
