package apppass

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/secret"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func keys(t testing.TB) *secret.Keys {
	k, err := secret.NewKeys(now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestMadeFormAndMatch(t *testing.T) {
	k := keys(t)
	form := regexp.MustCompile(`^[a-km-np-z2-9]{4}(-[a-km-np-z2-9]{4}){3}$`)
	seen := map[string]bool{}
	for range 300 {
		it, s, bad := Make(k, Wish{Name: "x"}, "", now)
		if len(bad) > 0 {
			t.Fatal(bad)
		}
		p := s.Reveal()
		if !form.MatchString(p) || !strings.ContainsAny(p, letters) || !strings.ContainsAny(p, "23456789") {
			t.Fatalf("%q has not the form", p)
		}
		if seen[p] || seen[it.ID] {
			t.Fatal("made twice")
		}
		seen[p], seen[it.ID] = true, true
		r := &Record{Items: []Item{it}}
		for _, typed := range []string{p, strings.ToUpper(p), strings.ReplaceAll(p, "-", ""), strings.ReplaceAll(p, "-", "  ")} {
			if got := r.Match(k, secret.New(typed)); got == nil || got.ID != it.ID {
				t.Fatalf("%q does not match", typed)
			}
		}
	}
}

func TestMatchRefuses(t *testing.T) {
	k := keys(t)
	it, s, _ := Make(k, Wish{Name: "x"}, "", now)
	r := &Record{Items: []Item{it}}
	p := s.Reveal()
	for _, c := range []struct{ name, typed string }{
		{"empty", ""}, {"short", p[:18]}, {"long", p + "a"}, {"look-alike", "l" + p[1:]}, {"NUL", p + "\x00"},
		{"other white space", strings.ReplaceAll(p, "-", "\t")}, {"very long", strings.Repeat(" ", 200) + p},
	} {
		if r.Match(k, secret.New(c.typed)) != nil {
			t.Errorf("%s matches", c.name)
		}
	}
	if r.Match(keys(t), s) != nil {
		t.Error("matches under another server key")
	}
	unreadable := *r
	unreadable.Items = []Item{{ID: "a", KeyID: "gone"}}
	if unreadable.Match(k, s) != nil {
		t.Error("an item without a MAC matches")
	}
	for _, c := range []struct {
		name, typed, want string
		r                 *Record
	}{
		{"an item under a key that is not there", p, "gone", &unreadable}, {"not of the form of one", "a word", "", &unreadable},
		{"all keys are there", p, "", r}, {"no record", p, "", nil},
	} {
		if got := c.r.Unsure(k, secret.New(c.typed)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if (*Record)(nil).Match(k, s) != nil {
		t.Error("no record matches")
	}
}

func TestMakeNamesEveryMistake(t *testing.T) {
	_, _, bad := Make(keys(t), Wish{Name: "a\u202eb", Doors: []string{"ftp"}, Networks: []string{"10.0.0.0/99"}, ExpiresAt: now}, "", now)
	var fields []string
	for _, m := range bad {
		fields = append(fields, m.Field)
	}
	if want := []string{"name", "doors", "networks", "expires_at"}; !slices.Equal(fields, want) {
		t.Errorf("got %v, want %v", fields, want)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name string
		ok   bool
	}{
		{"Thunderbird", true}, {"  trimmed  ", true}, {strings.Repeat("名", 40), true}, {strings.Repeat("a", 41), false},
		{"", false}, {"   ", false}, {"a\nb", false}, {"a\u200fb", false}, {"a\u2066b", false}, {"a\xffb", false},
	} {
		_, _, bad := Make(keys(t), Wish{Name: c.name}, "", now)
		if ok := len(bad) == 0; ok != c.ok {
			t.Errorf("%q: allowed is %v, want %v", c.name, ok, c.ok)
		}
	}
}

func TestLimit(t *testing.T) {
	r := Record{}
	for i := range 5 {
		var err error
		if r, err = r.With(Item{ID: string(rune('a' + i))}, 5); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.With(Item{ID: "f"}, 5); !errors.Is(err, ErrLimit) {
		t.Errorf("the sixth: %v, want ErrLimit", err)
	}
	r, was := r.Without("c")
	if !was || r.Has("c") || !r.Has("d") || len(r.Items) != 4 {
		t.Error("Without takes the wrong one away")
	}
	if _, was := r.Without("c"); was {
		t.Error("taken away twice")
	}
}

func TestJudge(t *testing.T) {
	it := Item{Doors: []string{"imap", "caldav"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, ExpiresAt: now.Add(time.Hour)}
	in, out := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("198.51.100.7")
	mapped := netip.MustParseAddr("::ffff:192.0.2.7")
	for _, c := range []struct {
		name  string
		doors []string
		from  netip.Addr
		at    time.Time
		want  Verdict
	}{
		{"good", []string{"imap"}, in, now, Good},
		{"mapped address", []string{"imap"}, mapped, now, Good},
		{"other door", []string{"smtp"}, in, now, OutOfScope},
		{"one of two doors", []string{"caldav", "carddav"}, in, now, OutOfScope},
		{"other network", []string{"imap"}, out, now, Refused},
		{"expired at the instant", []string{"imap"}, in, it.ExpiresAt, Refused},
		{"other network and door", []string{"smtp"}, out, now, Refused},
	} {
		if got := it.Judge(c.doors, c.from, c.at); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzNormalise(f *testing.F) {
	f.Add("abcd-efgh-jkmn-2345")
	f.Add("ABCD efgh--jkmn 2345 ")
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := Normalise(secret.New(s))
		if !ok {
			return
		}
		again, ok := Normalise(secret.New(grouped(p)))
		if !ok || again != p || len(p) != length {
			t.Fatalf("%q: %q does not come back: %q", s, p, again)
		}
	})
}

func TestRekeyedTouchesOneItemUnderItsOldKey(t *testing.T) {
	r := &Record{Items: []Item{{ID: "a", KeyID: "m1"}, {ID: "b", KeyID: "m1"}, {ID: "c", KeyID: "m2"}}}
	for _, c := range []struct {
		id, was string
		changed bool
	}{{"b", "m1", true}, {"c", "m1", false}, {"d", "m1", false}} {
		next, changed := r.Rekeyed(c.id, Keyed{Was: c.was, KeyID: "m3", MAC: []byte("x")})
		if changed != c.changed {
			t.Errorf("%s: changed %v", c.id, changed)
		}
		for i, it := range next.Items {
			if (it.KeyID == "m3") != (it.ID == c.id) || r.Items[i].KeyID == "m3" {
				t.Errorf("%s: %+v, and what it was made of %+v", c.id, next.Items, r.Items)
			}
		}
	}
}
