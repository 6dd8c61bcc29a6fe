package member

import (
	"strings"
	"testing"
)

func TestParseMobile(t *testing.T) {
	for _, c := range []struct{ in, region, want string }{
		{"+819012345678", "", "+819012345678"},
		{"+81 90-1234-5678", "", "+819012345678"},
		{"+81 090 1234 5678", "", "+819012345678"}, // the trunk 0 of the country goes
		{"＋８１９０１２３４５６７８", "", "+819012345678"},
		{"+44 20 7946 0018", "", ""}, // a land line
		{"tel:+1-202-555-0143", "", "+12025550143"},
		{"09012345678", "", ""},
		{"090-1234-5678", "JP", "+819012345678"},
		{"+81", "", ""},
		{"+999123456789", "", ""},
		{"+12025550143 ext. 5", "", ""},
		{"", "", ""},
		{"+", "", ""},
		{"ann@example.org", "", ""},
		{"+81" + strings.Repeat("9", 500), "", ""},
	} {
		got, err := ParseMobile(c.in, c.region)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: got %q, %v, want %q", c.in, got, err, c.want)
		}
	}
}

func FuzzParseMobile(f *testing.F) {
	f.Add("+819012345678")
	f.Add("tel:+1-202-555-0143;phone-context=x")
	f.Add("+12025550143 ext. 5")
	f.Add("\xff+8")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseMobile(s, "")
		if err != nil {
			return
		}
		if !strings.HasPrefix(n, "+") || len(n) > 16 || strings.Trim(n[1:], "0123456789") != "" {
			t.Fatalf("%q: %q", s, n)
		}
		if again, err := ParseMobile(n, ""); err != nil || again != n {
			t.Fatalf("%q: %q, and then %q, %v", s, n, again, err)
		}
	})
}

// Whatever is read as a contact is read again as itself, and is one contact however it was typed.
func FuzzParseContact(f *testing.F) {
	for _, seed := range []string{"Ann@MAIL.example", " ann@mail.example ", "ann+tag@bücher.example", "+81 90-1234-5678", "090-1234-5678", "a@b@c.example", "@", "\x00@x.example"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		k, err := ParseContact(typed, "JP")
		if err != nil {
			return
		}
		again, err := ParseContact(k.Value, "")
		if err != nil || again != k || !again.Same(k) || again.Partition() != k.Partition() {
			t.Errorf("%q is read as %+v, and that as %+v, %v", typed, k, again, err)
		}
		if (k.Kind == Email) != strings.Contains(k.Value, "@") || strings.TrimSpace(k.Value) != k.Value || k.Value == "" || len(k.Value) > maxContact {
			t.Errorf("%q is read as %+v", typed, k)
		}
	})
}
