package secret

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestSealOpensOnlyWhereItBelongs(t *testing.T) {
	k, err := NewKeys(time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewKeys(time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	s := k.Seal("totp", "member a", []byte("JBSWY3DPEHPK3PXP"))
	if bytes.Contains(s.Box, []byte("JBSWY3DP")) {
		t.Error("the box shows what is in it")
	}
	if p, err := k.Open("totp", "member a", s); err != nil || string(p) != "JBSWY3DPEHPK3PXP" {
		t.Errorf("got %q, %v", p, err)
	}
	bent := Sealed{KeyID: s.KeyID, Box: bytes.Clone(s.Box)}
	bent.Box[len(bent.Box)-1] ^= 1
	for name, c := range map[string]struct {
		k              *Keys
		purpose, bound string
		s              Sealed
	}{
		"another member":  {k, "totp", "member b", s},
		"another purpose": {k, "outbox", "member a", s},
		"another server":  {other, "totp", "member a", s},
		"bent":            {k, "totp", "member a", bent},
		"cut off":         {k, "totp", "member a", Sealed{KeyID: s.KeyID, Box: s.Box[:5]}},
	} {
		if p, err := c.k.Open(c.purpose, c.bound, c.s); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: got %q, %v, want ErrSealed", name, p, err)
		}
	}
}
