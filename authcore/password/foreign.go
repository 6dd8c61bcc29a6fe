package password

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// Hashes of other servers come in with an import and stand in a Record as they are until their member's first right
// password, which is hashed anew. Their cost is not ours, so an attempt at such a member costs itself and one of ours,
// right or wrong: never less than an unknown name, and what is more is hidden by the hold of refusals (start + 2 s), for
// no hash is taken in that needs more than about a second or 128 MiB. With no hold, or past it, an attacker with a
// stopwatch can tell such members from unknown names until they have signed in once; nothing tells him more than that.

// Bounds of what an import may bring: a verification stays under about a second and 128 MiB a slot.
const (
	importMemoryKiB   = 128 << 10
	importMemoryTimes = 512 << 10 // argon2id: KiB times passes
	bcryptCostLow     = 4         // of the format
	bcryptCostHigh    = 14
	shaRoundsLow      = 1000 // of the format
	shaRoundsHigh     = 1_000_000
	pbkdf2RoundsHigh  = 2_000_000
	scryptWork        = 1 << 20 // N·r·p; N·r of it is 128 MiB
	maxForeign        = 512     // characters of a hash: the longest of these formats has 200
	saltHigh          = 64
	keyLow, keyHigh   = 16, 64
)

// ParseHash makes of another server's hash, with or without Dovecot's {SCHEME} before it, what a Record keeps. Its error
// says what is wrong, without quoting the hash.
func ParseHash(s string) (string, error) {
	if len(s) > maxForeign {
		return "", fmt.Errorf("has more than %d characters: no hash that is known is so long", maxForeign)
	}
	h, err := withoutScheme(s)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(h, "$argon2id$") {
		return h, importable(h)
	}
	_, err = parseForeign(h)
	return h, err
}

// importable: a record of ours may ask for more than an import may bring.
func importable(phc string) error {
	p, salt, key, err := decode(phc)
	switch {
	case err != nil:
		return errors.New("is not argon2id as $argon2id$v=19$m=…,t=…,p=…$salt$key")
	case p.MemoryKiB > importMemoryKiB || uint64(p.MemoryKiB)*uint64(p.Time) > importMemoryTimes:
		return fmt.Errorf("asks for too much: at most %d KiB, and %d KiB times passes", importMemoryKiB, importMemoryTimes)
	case len(salt) > saltHigh || len(key) > keyHigh:
		return errLengths
	}
	return nil
}

// withoutScheme takes Dovecot's prefix off. Its PBKDF2 is written as others write it.
func withoutScheme(s string) (string, error) {
	rest, ok := strings.CutPrefix(s, "{")
	if !ok {
		return s, nil
	}
	scheme, rest, ok := strings.Cut(rest, "}")
	scheme = strings.ToUpper(scheme)
	switch {
	case !ok:
		return "", errors.New("begins with { and has no }")
	case scheme == "PBKDF2" && strings.HasPrefix(rest, "$1$"):
		return dovecotPBKDF2(rest)
	case strings.HasPrefix(scheme, "PBKDF2") && !strings.HasPrefix(rest, "$"): // OpenLDAP
		return "$" + strings.ToLower(scheme) + "$" + rest, nil
	}
	for _, known := range []struct{ scheme, prefix string }{
		{"CRYPT", "$"}, {"BLF-CRYPT", "$2"}, {"SHA512-CRYPT", "$6$"}, {"SHA256-CRYPT", "$5$"}, {"ARGON2ID", "$argon2id$"}, {"SCRYPT", "$scrypt$"}, {"PBKDF2", "$pbkdf2"},
	} {
		if scheme == known.scheme {
			if !strings.HasPrefix(rest, known.prefix) {
				return "", fmt.Errorf("is no %s hash: those begin with %s", scheme, known.prefix)
			}
			return rest, nil
		}
	}
	return "", errors.New("has a {SCHEME} that is not taken: use ARGON2ID, BLF-CRYPT, SHA512-CRYPT, SHA256-CRYPT, SCRYPT, PBKDF2 or CRYPT, or a temporary password")
}

// dovecotPBKDF2 rewrites $1$salt$rounds$key, SHA-1, the salt as text and the key in hexadecimal digits.
func dovecotPBKDF2(s string) (string, error) {
	f := strings.Split(s, "$")
	if len(f) != 5 {
		return "", errPBKDF2
	}
	key, err := hex.DecodeString(f[4])
	if err != nil {
		return "", errPBKDF2
	}
	return "$pbkdf2-sha1$" + f[3] + "$" + b64.EncodeToString([]byte(f[2])) + "$" + b64.EncodeToString(key), nil
}

var (
	errLengths = fmt.Errorf("its salt or key is too short or too long: %d to %d bytes", keyLow, keyHigh)
	errPBKDF2  = errors.New("is not PBKDF2 as $pbkdf2-sha256$rounds$salt$key")
	errScrypt  = errors.New("is not scrypt as $scrypt$ln=…,r=…,p=…$salt$key")
	errSHA     = errors.New("is not SHA-crypt as $6$rounds=…$salt$key")
	errBcrypt  = errors.New("is not bcrypt as $2b$cost$salt and key")
	errUnknown = errors.New("is no hash that is taken: argon2id, bcrypt, SHA-512-crypt, SHA-256-crypt, scrypt or PBKDF2")
)

// verifier says whether a prepared password is the one.
type verifier func(password string) (bool, error)

// parseForeign reads a hash within the bounds and refuses every other one.
func parseForeign(s string) (verifier, error) {
	f := strings.Split(s, "$")
	if len(f) < 3 || f[0] != "" {
		return nil, errUnknown
	}
	switch name := f[1]; {
	case name == "2a" || name == "2b" || name == "2y":
		return parseBcrypt(s, f)
	case name == "5" || name == "6":
		return parseSHACrypt(s, f)
	case name == "scrypt":
		return parseScrypt(f)
	case strings.HasPrefix(name, "pbkdf2"):
		return parsePBKDF2(f)
	}
	return nil, errUnknown
}

// cryptAlphabet are the characters of bcrypt's and SHA-crypt's base 64.
const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func parseBcrypt(s string, f []string) (verifier, error) {
	if len(f) != 4 || len(f[2]) != 2 || len(f[3]) != 53 || strings.Trim(f[3], cryptAlphabet) != "" {
		return nil, errBcrypt
	}
	cost, err := strconv.Atoi(f[2])
	if err != nil || cost < bcryptCostLow || cost > bcryptCostHigh {
		return nil, fmt.Errorf("has a cost that is not %d to %d", bcryptCostLow, bcryptCostHigh)
	}
	return func(password string) (bool, error) {
		err := bcrypt.CompareHashAndPassword([]byte(s), []byte(password))
		if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return false, nil
		}
		return err == nil, err
	}, nil
}

// parseSHACrypt: Drepper, "Unix crypt using SHA-256 and SHA-512".
func parseSHACrypt(s string, f []string) (verifier, error) {
	length := map[string]int{"5": 43, "6": 86}[f[1]]
	if rounds, ok := strings.CutPrefix(f[2], "rounds="); ok {
		n, err := strconv.Atoi(rounds)
		if err != nil || n < shaRoundsLow || n > shaRoundsHigh {
			return nil, fmt.Errorf("has rounds that are not %d to %d", shaRoundsLow, shaRoundsHigh)
		}
		f = append(f[:2:2], f[3:]...)
	}
	if len(f) != 4 || len(f[2]) == 0 || len(f[2]) > 16 || len(f[3]) != length || strings.Trim(f[3], cryptAlphabet) != "" {
		return nil, errSHA
	}
	d, err := shacrypt.Decode(s)
	if err != nil {
		return nil, errSHA
	}
	return d.MatchAdvanced, nil
}

func parseScrypt(f []string) (verifier, error) {
	if len(f) != 5 {
		return nil, errScrypt
	}
	var ln, r, p int
	if n, err := fmt.Sscanf(f[2], "ln=%d,r=%d,p=%d", &ln, &r, &p); n != 3 || err != nil || ln < 1 || r < 1 || p < 1 {
		return nil, errScrypt
	}
	if ln > 20 || r > scryptWork || p > scryptWork || uint64(r)*uint64(p)<<ln > scryptWork {
		return nil, errors.New("asks for too much: at most 2^20 for N·r·p")
	}
	salt, key, err := saltAndKey(f[3], f[4])
	if err != nil {
		return nil, err
	}
	return func(password string) (bool, error) {
		got, err := scrypt.Key([]byte(password), salt, 1<<ln, r, p, len(key))
		return subtle.ConstantTimeCompare(got, key) == 1, err
	}, nil
}

func parsePBKDF2(f []string) (verifier, error) {
	digests := map[string]func() hash.Hash{"pbkdf2": sha1.New, "pbkdf2-sha1": sha1.New, "pbkdf2-sha256": sha256.New, "pbkdf2-sha512": sha512.New}
	digest := digests[f[1]]
	if digest == nil || len(f) != 5 {
		return nil, errPBKDF2
	}
	rounds, err := strconv.Atoi(f[2])
	if err != nil || rounds < 1 || rounds > pbkdf2RoundsHigh {
		return nil, fmt.Errorf("has rounds that are not 1 to %d", pbkdf2RoundsHigh)
	}
	salt, key, err := saltAndKey(f[3], f[4])
	if err != nil {
		return nil, err
	}
	if len(key) > digest().Size() {
		return nil, errLengths // each further block of it would cost all rounds again (RFC 8018 section 5.2)
	}
	return func(password string) (bool, error) {
		got, err := pbkdf2.Key(digest, password, salt, rounds, len(key))
		return subtle.ConstantTimeCompare(got, key) == 1, err
	}, nil
}

// saltAndKey read base 64 without padding, with "." for "+" as passlib writes it.
func saltAndKey(s, k string) (salt, key []byte, err error) {
	enc := base64.RawStdEncoding.Strict()
	read := func(s string) ([]byte, error) {
		return enc.DecodeString(strings.ReplaceAll(strings.TrimRight(s, "="), ".", "+"))
	}
	salt, e1 := read(s)
	key, e2 := read(k)
	if e1 != nil || e2 != nil {
		return nil, nil, errors.New("its salt or key is not base 64")
	}
	if len(salt) < 1 || len(salt) > saltHigh || len(key) < keyLow || len(key) > keyHigh {
		return nil, nil, errLengths
	}
	return salt, key, nil
}
