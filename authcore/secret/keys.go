package secret

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Keys are the server keys: those under which credentials are fingerprinted and the one that signs tokens for
// upstreams. They live in a file of their own (0600) and never in the store or a backup. Keys are read-only once loaded.
type Keys struct {
	mac  []macKey // the current one first
	sign []SigningKey
}

type macKey struct {
	id      string
	created time.Time
	key     []byte // 32 bytes
}

// SigningKey signs tokens with ES256; the current one stands first in Keys.
type SigningKey struct {
	ID      string
	Created time.Time
	Private *ecdsa.PrivateKey // P-256
}

// KeyInfo is what may be told of a key.
type KeyInfo struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"` // "mac" or "sign"
	Created     time.Time `json:"created"`
	Fingerprint string    `json:"fingerprint"` // first 8 bytes of SHA-256 under a fixed label, in hex
	Current     bool      `json:"current"`
}

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

const (
	kindMAC  = "mac"
	kindSign = "sign"
)

// NewKeys makes one key of each kind.
func NewKeys(now time.Time) (*Keys, error) {
	m := macKey{id: "m" + randomID(), created: now.UTC().Truncate(time.Second), key: make([]byte, sha256.Size)}
	_, _ = rand.Read(m.key) // never fails since Go 1.24
	p, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	s := SigningKey{ID: "s" + randomID(), Created: m.created, Private: p}
	return &Keys{mac: []macKey{m}, sign: []SigningKey{s}}, nil
}

func randomID() string {
	var b [5]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
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
	k := &Keys{}
	for _, it := range f.Keys {
		if err := k.add(it); err != nil {
			return nil, fmt.Errorf("key %q: %w", it.ID, err)
		}
	}
	if len(k.mac) == 0 || len(k.sign) == 0 {
		return nil, errors.New("a key of each kind is needed")
	}
	return k, nil
}

func (k *Keys) add(it fileItem) error {
	switch it.Kind {
	case kindMAC:
		if len(it.Secret) != sha256.Size {
			return fmt.Errorf("has %d bytes, want %d", len(it.Secret), sha256.Size)
		}
		k.mac = append(k.mac, macKey{id: it.ID, created: it.Created, key: it.Secret})
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
// ones could not be checked any more.
func (k *Keys) Create(path string) error {
	p, err := k.marshal()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", ErrKeysExist, path)
	}
	if err != nil {
		return fmt.Errorf("server keys: %w", err)
	}
	_, err = f.Write(p)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("server keys: write %s: %w", path, err)
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
	f := keysFile{Version: 1}
	for _, m := range k.mac {
		f.Keys = append(f.Keys, fileItem{ID: m.id, Kind: kindMAC, Created: m.created, Secret: m.key})
	}
	for _, s := range k.sign {
		p, err := x509.MarshalPKCS8PrivateKey(s.Private)
		if err != nil {
			return nil, fmt.Errorf("server keys: key %q: %w", s.ID, err)
		}
		f.Keys = append(f.Keys, fileItem{ID: s.ID, Kind: kindSign, Created: s.Created, Secret: p})
	}
	p, err := json.MarshalIndent(f, "", "  ")
	return append(p, '\n'), err
}

// MAC is HMAC-SHA-256 under the current key over a purpose and length-prefixed parts. The id of the key goes beside what
// was made with it.
func (k *Keys) MAC(purpose string, parts ...string) (id string, mac []byte) {
	return k.mac[0].id, macOf(k.mac[0].key, purpose, parts)
}

// MACUnder is the same under the key named id; false when there is none.
func (k *Keys) MACUnder(id, purpose string, parts ...string) ([]byte, bool) {
	for _, m := range k.mac {
		if m.id == id {
			return macOf(m.key, purpose, parts), true
		}
	}
	return nil, false
}

// CurrentMAC is the id of the key that MAC uses.
func (k *Keys) CurrentMAC() string { return k.mac[0].id }

func macOf(key []byte, purpose string, parts []string) []byte {
	h := hmac.New(sha256.New, key)
	var n [8]byte
	write := func(s string) {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	write(purpose)
	for _, p := range parts {
		write(p)
	}
	return h.Sum(nil)
}

// Fingerprint is a short name for a secret or a name under the current key: 12 bytes of MAC in base64url. It says that
// two are equal, and nothing else.
func (k *Keys) Fingerprint(purpose string, parts ...string) string {
	_, m := k.MAC(purpose, parts...)
	return base64.RawURLEncoding.EncodeToString(m[:12])
}

// Signing answers the keys that sign tokens, the current one first.
func (k *Keys) Signing() []SigningKey { return k.sign }

// List tells of each key what may be told.
func (k *Keys) List() []KeyInfo {
	var l []KeyInfo
	for i, m := range k.mac {
		l = append(l, KeyInfo{ID: m.id, Kind: kindMAC, Created: m.created, Fingerprint: keyPrint(m.key), Current: i == 0})
	}
	for i, s := range k.sign {
		pub, err := x509.MarshalPKIXPublicKey(&s.Private.PublicKey)
		if err != nil {
			pub = nil // cannot happen for a P-256 key; an empty fingerprint is no secret either
		}
		l = append(l, KeyInfo{ID: s.ID, Kind: kindSign, Created: s.Created, Fingerprint: keyPrint(pub), Current: i == 0})
	}
	return l
}

func keyPrint(p []byte) string {
	m := macOf([]byte("latchkey key fingerprint"), "print", []string{string(p)})
	return hex.EncodeToString(m[:8])
}
