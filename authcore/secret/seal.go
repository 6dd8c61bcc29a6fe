package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// Sealed is a secret that must be read again, like that of an authenticator app: AES-256-GCM under a key made from a
// server key (HKDF, RFC 5869) for one purpose. What is only compared is kept as a MAC instead.
type Sealed struct {
	KeyID string `json:"key_id"`
	Box   []byte `json:"box"` // nonce and ciphertext
}

// ErrSealed: the text is not what was sealed, or its server key is gone.
var ErrSealed = errors.New("cannot open what was sealed")

// Seal seals plain under the current key for a purpose; bound names where it belongs, so that it opens nowhere else.
func (k *Keys) Seal(purpose, bound string, plain []byte) Sealed {
	s, err := k.held.Load().current().seal(purpose, bound, plain)
	if err != nil {
		panic(fmt.Sprintf("secret: seal: %v", err)) // a key of 32 bytes always makes a cipher
	}
	return s
}

// Open answers what was sealed for the same purpose and place.
func (k *Keys) Open(purpose, bound string, s Sealed) ([]byte, error) {
	for _, m := range k.held.Load().mac {
		if m.id != s.KeyID {
			continue
		}
		a, err := m.cipher(purpose)
		if err != nil || len(s.Box) < a.NonceSize() {
			return nil, ErrSealed
		}
		p, err := a.Open(nil, s.Box[:a.NonceSize()], s.Box[a.NonceSize():], []byte(bound))
		if err != nil {
			return nil, ErrSealed
		}
		return p, nil
	}
	return nil, fmt.Errorf("%w: there is no server key %q", ErrSealed, s.KeyID)
}

func (m macKey) seal(purpose, bound string, plain []byte) (Sealed, error) {
	a, err := m.cipher(purpose)
	if err != nil {
		return Sealed{}, err
	}
	nonce := make([]byte, a.NonceSize(), a.NonceSize()+len(plain)+a.Overhead())
	_, _ = rand.Read(nonce) // never fails since Go 1.24
	return Sealed{KeyID: m.id, Box: a.Seal(nonce, nonce, plain, []byte(bound))}, nil
}

func (m macKey) cipher(purpose string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, m.key, nil, "latchkey seal: "+purpose, 32)
	if err != nil {
		return nil, err
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}
