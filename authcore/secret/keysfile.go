package secret

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ErrKeysExist: Create found a file and left it alone.
var ErrKeysExist = errors.New("a file of server keys exists")

type keysFile struct {
	Version int        `json:"version"`
	Keys    []fileItem `json:"keys"` // the current one of each kind first
}

type fileItem struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`
	Created time.Time `json:"created"`
	Secret  []byte    `json:"secret"` // mac: 32 bytes; sign: PKCS #8
}

// Load reads the file at path and refuses one that others than its owner may read.
func Load(path string) (*Keys, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("server keys: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("server keys: %s has mode %04o: others may read it; run chmod 600 on it", path, st.Mode().Perm())
	}
	p, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("server keys: %w", err)
	}
	k, err := parseKeys(p)
	if err != nil {
		return nil, fmt.Errorf("server keys: %s: %w", path, err)
	}
	return k, nil
}

func parseKeys(p []byte) (*Keys, error) {
	var f keysFile
	if err := json.Unmarshal(p, &f); err != nil {
		return nil, errors.New("not a file of server keys") // the cause could quote key material
	}
	if f.Version != 1 {
		return nil, fmt.Errorf("version %d is not known to this program", f.Version)
	}
	k := ring{}
	for _, it := range f.Keys {
		if k.has(it.ID) {
			return nil, fmt.Errorf("key %q is there twice", it.ID)
		}
		if err := k.add(it); err != nil {
			return nil, fmt.Errorf("key %q: %w", it.ID, err)
		}
	}
	if len(k.mac) == 0 || len(k.sign) == 0 {
		return nil, errors.New("a key of each kind is needed")
	}
	return keysOf(k), nil
}

func (k *ring) add(it fileItem) error {
	switch it.Kind {
	case kindMAC:
		if len(it.Secret) != sha256.Size {
			return fmt.Errorf("has %d bytes, want %d", len(it.Secret), sha256.Size)
		}
		k.mac = append(k.mac, macKeyOf(it.ID, it.Created, it.Secret))
	case kindSign:
		p, err := x509.ParsePKCS8PrivateKey(it.Secret)
		ec, ok := p.(*ecdsa.PrivateKey)
		if err != nil || !ok || ec.Curve != elliptic.P256() {
			return errors.New("is no P-256 key")
		}
		k.sign = append(k.sign, SigningKey{ID: it.ID, Created: it.Created, Private: ec})
	default:
		return fmt.Errorf("kind %q is not known", it.Kind)
	}
	return nil
}

// Create writes k to path, which must not exist: a file of server keys is never overwritten, for what hangs on the old
// ones could not be checked any more. It is there whole or not at all.
func (k *Keys) Create(path string) error {
	return k.write(path, func(whole string) error {
		err := os.Link(whole, path) // unlike a rename it refuses to overwrite
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %s", ErrKeysExist, path)
		}
		return err
	})
}

// Replace writes k to path in place of what is there: whole, or not at all.
func (k *Keys) Replace(path string) error {
	return k.write(path, func(whole string) error { return os.Rename(whole, path) })
}

// write makes a synced file (0600) beside path, which put gives its name.
func (k *Keys) write(path string, put func(whole string) error) error {
	p, err := k.marshal()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".latchkey-keys-*")
	if err != nil {
		return fmt.Errorf("server keys: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(p)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("server keys: write %s: %w", path, err)
	}
	if err := put(f.Name()); err != nil {
		return fmt.Errorf("server keys: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("server keys: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("server keys: sync %s: %w", dir, err)
	}
	return nil
}

func (k *Keys) marshal() ([]byte, error) {
	r := k.held.Load()
	f := keysFile{Version: 1}
	for _, m := range r.mac {
		f.Keys = append(f.Keys, fileItem{ID: m.id, Kind: kindMAC, Created: m.created, Secret: m.key})
	}
	for _, s := range r.sign {
		p, err := x509.MarshalPKCS8PrivateKey(s.Private)
		if err != nil {
			return nil, fmt.Errorf("server keys: key %q: %w", s.ID, err)
		}
		f.Keys = append(f.Keys, fileItem{ID: s.ID, Kind: kindSign, Created: s.Created, Secret: p})
	}
	p, err := json.MarshalIndent(f, "", "  ")
	return append(p, '\n'), err
}
