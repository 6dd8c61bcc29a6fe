package password

import (
	"strings"
	"testing"

	"latchkey/authcore/secret"
)

// foreign are hashes that other programs made: Dovecot 2.3 (doveadm pw), libxcrypt, OpenSSL's PBKDF2 and scrypt, and
// those of RFC 7914 section 12 and of the specification of SHA-crypt.
func foreign() []struct{ name, hash, password string } {
	const horse = "correct horse 1"
	return []struct{ name, hash, password string }{
		{"Dovecot bcrypt", "{BLF-CRYPT}$2y$05$YFUV4lFloT4SCaYnUnu2JOlJV4HNl3CEH7iFBeFW8rER1Wvqs/y/6", horse},
		{"Dovecot SHA-512-crypt", "{SHA512-CRYPT}$6$3WirckyJAUq8QwKG$YIgEjDDvv1Ai2rgw3JuN8vjZNFcGp5xsulU6OJxLA64J0clx9sSQMIqm0oiH4jU3jHIoCRzPGqKHNbPfVpITr/", horse},
		{"Dovecot SHA-256-crypt", "{sha256-crypt}$5$YpLqSTHSIQHho62x$XnRO9vKkxhNaBDyY0gvej8rK0vztj/2mNN5alUxlC2D", horse},
		{"Dovecot argon2id", "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$BOrRCkMcuN6/g8/cklE6gA$MKpFtfJGz8n8W0msZzBRT0tWcTnGi4XfvyhiiRpKzN8", horse},
		{"Dovecot PBKDF2", "{PBKDF2}$1$Yq0WJcRYSHiWi.Gv$5000$e60a66bb6c8b593678728d85c6defd04b6c99581", horse},
		{"crypt", "{CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1", "Hello world!"},
		{"SHA-512-crypt with rounds", "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.", "Hello world!"},
		{"bcrypt", "$2b$05$SxVWW/rCf1Bq9mnF.YzC6OqC0jun5remnuW1KFNndM1ny5bcMD/P6", horse},
		{"scrypt", "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw", "pleaseletmein"},
		{"PBKDF2, SHA-1", "$pbkdf2-sha1$1000$.vv8/f7/MDEyMzQ1Njc4OQ$KQjj0/pa/qMQmEEa.q1UGo62.7A", horse},
		{"PBKDF2, SHA-1 as passlib says", "$pbkdf2$1000$.vv8/f7/MDEyMzQ1Njc4OQ$KQjj0/pa/qMQmEEa.q1UGo62.7A", horse},
		{"PBKDF2, SHA-256", "$pbkdf2-sha256$1000$.vv8/f7/MDEyMzQ1Njc4OQ$24XBGTfJcktOBm/uRdCWi/NruIpkgF/RameLyilD1rI", horse},
		{"PBKDF2, SHA-512", "$pbkdf2-sha512$1000$.vv8/f7/MDEyMzQ1Njc4OQ$gp/HsJ.v5721DpQGMxFafAC8SdjRW0z3hVQdf.bYgretkcLMEJyDiMBWitAFGcQXWhwO8ulF.x7ANEFBlqwwZw", horse},
		{"OpenLDAP PBKDF2", "{PBKDF2-SHA256}1000$.vv8/f7/MDEyMzQ1Njc4OQ$24XBGTfJcktOBm/uRdCWi/NruIpkgF/RameLyilD1rI", horse},
	}
}

func slotOf(t testing.TB, p Params) *Slot {
	t.Helper()
	s, err := NewHasher(p, 1).Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Release)
	return s
}

func TestForeignHashes(t *testing.T) {
	s := slotOf(t, Params{MemoryKiB: 128, Time: 1})
	for _, c := range foreign() {
		hash, err := ParseHash(c.hash)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for typed, want := range map[string]bool{c.password: true, c.password + "x": false, strings.ToUpper(c.password): false, "": false} {
			before := s.h.Hashes()
			if ok, err := s.Verify(hash, secret.New(typed)); ok != want || err != nil {
				t.Errorf("%s, %q: got %v, %v, want %v", c.name, typed, ok, err, want)
			}
			if s.h.Hashes() != before+1 {
				t.Errorf("%s: not counted as a hash", c.name)
			}
		}
	}
}

func TestAgain(t *testing.T) {
	s := slotOf(t, Params{MemoryKiB: 128, Time: 1})
	p := secret.New("correct horse 1")
	own := s.Hash(p)
	older := slotOf(t, Params{MemoryKiB: 256, Time: 2}).Hash(p)
	cheaper := slotOf(t, Params{MemoryKiB: 32, Time: 2}).Hash(p)
	bcrypt, _ := ParseHash(foreign()[0].hash)
	for _, c := range []struct {
		name, hash  string
		right, anew bool
		hashes      int64
	}{
		{"own, right", own, true, false, 0},
		{"own, wrong", own, false, false, 0},
		{"of older parameters, right", older, true, true, 1},
		{"of older parameters, wrong", older, false, false, 0},
		{"of cheaper parameters, right", cheaper, true, true, 1},
		{"of cheaper parameters, wrong", cheaper, false, false, 1},
		{"another server's, right", bcrypt, true, true, 1},
		{"another server's, wrong", bcrypt, false, false, 1},
		{"of a random password, right", s.HashRandom(p), true, true, 1},
		{"of a random password, wrong", s.HashRandom(p), false, false, 1},
	} {
		before := s.h.Hashes()
		got := s.Again(c.hash, p, c.right)
		if n := s.h.Hashes() - before; n != c.hashes {
			t.Errorf("%s: %d hashes, want %d", c.name, n, c.hashes)
		}
		if (got != "") != c.anew {
			t.Errorf("%s: %q", c.name, got)
		}
		if got == "" {
			continue
		}
		if ok, err := s.Verify(got, p); !ok || err != nil || s.Again(got, p, true) != "" {
			t.Errorf("%s: what was hashed anew is not right or not of today: %v, %v", c.name, ok, err)
		}
	}
}

func TestParseHashRefuses(t *testing.T) {
	const salt, key = "c2FsdHNhbHRzYWx0", "a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5"
	bcrypt53 := strings.Repeat("a", 53)
	for name, hash := range map[string]string{
		"nothing": "", "plain": "secret", "plain with a scheme": "{PLAIN}secret", "an open scheme": "{PLAIN", "only dollars": "$$$", "MD5-crypt": "$1$salt$hash",
		"salted SHA-1": "{SSHA}abc", "locked": "!", "scheme and another hash": "{BLF-CRYPT}$6$saltstring$" + strings.Repeat("a", 86),
		"too long":                     "$6$" + strings.Repeat("a", 600),
		"argon2i":                      "$argon2i$v=19$m=64,t=1,p=1$" + salt + "$" + key,
		"argon2id, too much memory":    "$argon2id$v=19$m=131073,t=1,p=1$" + salt + "$" + key,
		"argon2id, too many passes":    "$argon2id$v=19$m=65536,t=9,p=1$" + salt + "$" + key,
		"argon2id, no passes":          "$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + key,
		"bcrypt, too dear":             "$2b$15$" + bcrypt53,
		"bcrypt, too cheap":            "$2b$03$" + bcrypt53,
		"bcrypt, no number":            "$2b$+5$" + bcrypt53[:52],
		"bcrypt, short":                "$2b$05$" + bcrypt53[1:],
		"bcrypt, other characters":     "$2b$05$" + bcrypt53[1:] + "!",
		"bcrypt, of a bug":             "$2x$05$" + bcrypt53,
		"SHA-crypt, too many rounds":   "$6$rounds=1000001$salt$" + strings.Repeat("a", 86),
		"SHA-crypt, too few":           "$6$rounds=999$salt$" + strings.Repeat("a", 86),
		"SHA-crypt, no number":         "$6$rounds=x$salt$" + strings.Repeat("a", 86),
		"SHA-crypt, long salt":         "$6$12345678901234567$" + strings.Repeat("a", 86),
		"SHA-crypt, no salt":           "$6$$" + strings.Repeat("a", 86),
		"SHA-crypt, short":             "$6$salt$" + strings.Repeat("a", 85),
		"SHA-crypt, rounds alone":      "$6$rounds=5000",
		"scrypt, too much":             "$scrypt$ln=18,r=8,p=1$" + salt + "$" + key,
		"scrypt, too wide":             "$scrypt$ln=10,r=1048576,p=1048576$" + salt + "$" + key,
		"scrypt, nothing":              "$scrypt$ln=0,r=8,p=1$" + salt + "$" + key,
		"scrypt, negative":             "$scrypt$ln=4,r=-8,p=-1$" + salt + "$" + key,
		"scrypt, short key":            "$scrypt$ln=4,r=8,p=1$" + salt + "$a2V5",
		"PBKDF2, too many rounds":      "$pbkdf2-sha256$2000001$" + salt + "$" + key,
		"PBKDF2, no rounds":            "$pbkdf2-sha256$0$" + salt + "$" + key,
		"PBKDF2, negative":             "$pbkdf2-sha256$-1$" + salt + "$" + key,
		"PBKDF2, of another digest":    "$pbkdf2-md5$1000$" + salt + "$" + key,
		"PBKDF2, more than one block":  "$pbkdf2-sha1$1000$" + salt + "$" + key,
		"PBKDF2, no base 64":           "$pbkdf2-sha256$1000$" + salt + "$" + "????????????????????????",
		"Dovecot PBKDF2, broken":       "{PBKDF2}$1$salt$1000$zz",
		"Dovecot PBKDF2, part missing": "{PBKDF2}$1$salt$1000",
	} {
		if h, err := ParseHash(hash); err == nil {
			t.Errorf("%s: taken as %q", name, h)
		} else if len(hash) > 8 && strings.Contains(err.Error(), hash[len(hash)-8:]) {
			t.Errorf("%s: the error quotes the hash: %v", name, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	for _, c := range foreign() {
		f.Add(c.hash)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHash(s)
		if err != nil {
			return
		}
		again, err := ParseHash(h)
		if err != nil || again != h {
			t.Errorf("%q is taken as %q, and that as %q, %v", s, h, again, err)
		}
	})
}
