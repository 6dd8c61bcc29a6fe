package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/configs"
	"latchkey/policy"
)

// A wrong password for somebody and one for nobody take the same time: measured over sockets, with no hold that would hide
// it, in pairs that lie beside each other, each attempt from an address of its own so that no throttle comes in between.

// drillsAreLong says that drills run as long as they must to prove what they say; else as long as `make test` has.
func drillsAreLong() bool { return os.Getenv("LATCHKEY_DRILLS") == "long" }

// pairsAndBound are how many pairs a surface is measured with, and what their median may differ by.
func pairsAndBound() (int, time.Duration) {
	if drillsAreLong() {
		return 2500, time.Millisecond
	}
	return 40, 4 * time.Millisecond
}

// again is how many times as many pairs are measured once more where the first ones are not as they should be: of a few pairs
// a busy machine may make anything, of more it does not.
const again = 4

// timed is the stage of a timing drill: a hash that is cheap, so that it hides nothing, codes for everybody, and so many
// members that pairs can be measured.
func timed(t *testing.T, pairs, hashKiB int) *stage {
	s := bareStage(t)
	o := startOutside(t)
	notify := o.notify(s.write("mail", "mail secret\n", 0o600), s.write("sms", "sms secret\n", 0o600), s.write("sign", "sign secret\n", 0o600),
		s.write("hook", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n", 0o600))
	s.configure(func(text string) string {
		text = strings.Replace(text, "hash_memory_kib: 1024", "hash_memory_kib: "+itoa(hashKiB), 1)
		return text + "sign_in: {codes: {per_address: 100, per_country: 1000000, per_channel: 1000000}}\n" + notify
	})
	s.seed()
	s.addCrowd(((1+again)*pairs + codesEach - 1) / codesEach)
	return s
}

// codesEach is how many codes are asked for one member or nobody: a member has ten a day, by all ways together.
const codesEach = 5

// addCrowd makes members with a contact and a linked number.
func (s *stage) addCrowd(n int) {
	s.t.Helper()
	cfg, err := configs.Load(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	a := authcore.CommandActor("crowd")
	work := storeWork{"crowd", func(ctx context.Context, w works, _ []string, _ io.Reader, _ io.Writer) error {
		p, rev, err := w.core.Policy(ctx, a, sample.Old)
		if err != nil {
			return err
		}
		p.SignIn.Phone = policy.Allow
		if _, err := w.core.SetPolicy(ctx, a, sample.Old, p, rev); err != nil {
			return err
		}
		d, err := w.core.Domain(ctx, a, sample.Old)
		if err != nil {
			return err
		}
		for i := range n {
			made, _, err := w.core.CreateMember(ctx, a, sample.Old, authcore.NewMember{Address: crowdLogin(i), Password: secret.New("one-of-many-" + itoa(i)),
				Contacts: []member.Contact{{Kind: member.Email, Value: crowdLogin(i) + ".org"}}})
			if err == nil {
				err = linkNumber(ctx, w.db, d.Domain.ID, made.Member.ID, crowdNumber(i))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}}
	if err := inStore(s.t.Context(), cfg, program{err: io.Discard}, work, nil, nil, io.Discard); err != nil {
		s.t.Fatal(err)
	}
}

func crowdLogin(i int) string  { return "crowd-" + itoa(i) + "@old.example" }
func crowdNumber(i int) string { return fmt.Sprintf("+8190%08d", 10_000_000+i) }

// linkNumber writes what proving a number by a code leaves.
func linkNumber(ctx context.Context, db store.Records, d member.DomainID, id member.ID, number string) error {
	c := member.Claims{Records: db, Now: time.Now}
	if err := c.Take(ctx, member.ClaimPhone, number, d, id); err != nil {
		return err
	}
	link := member.PutOp(member.PhoneLinkKey(d, id), member.PhoneLink{Number: number, Since: time.Now().UTC()}, 0)
	if _, err := db.Apply(ctx, member.Partition(d), link); err != nil {
		return err
	}
	return c.Confirm(ctx, member.ClaimPhone, number, d, id)
}

// surface is a place where somebody can guess.
type surface struct {
	name  string
	pairs int // that are measured
	// who are somebody and nobody in the i-th pair.
	who func(i int) [2]string
	// try sends one attempt over a connection of its own and answers how long the answer took.
	try func(from net.Addr, login string) (time.Duration, error)
}

func (s *stage) surfaces(pairs int) []surface {
	one := func(int) [2]string { return [2]string{s.people["account"].Address, "nobody-at-all@old.example"} }
	l := []surface{
		{"sign-in", pairs, one, s.timeSignIn}, {"forgotten password", pairs, ofCrowd, s.timeForgotten}, {"phone code", pairs, numbersOfCrowd, s.timePhone},
	}
	for _, p := range stageDoors {
		l = append(l, surface{p, pairs, one, func(from net.Addr, login string) (time.Duration, error) { return s.timeDoor(p, from, login) }})
	}
	return l
}

// ofCrowd is one of many and a name that nobody has, codesEach times each.
func ofCrowd(i int) [2]string {
	return [2]string{crowdLogin(i / codesEach), "nobody-" + itoa(i/codesEach) + "@old.example"}
}

func numbersOfCrowd(i int) [2]string {
	return [2]string{crowdNumber(i / codesEach), crowdNumber(i/codesEach + 50_000_000)}
}

// addresses are of 127.0.0.0/8, one after the other.
type addresses struct{ n uint32 }

func (a *addresses) next() net.Addr {
	a.n++
	return &net.TCPAddr{IP: net.IPv4(127, byte(1+a.n>>16), byte(a.n>>8), byte(a.n))}
}

func (s *stage) dialFrom(listener string, from net.Addr) (*talk, error) {
	c, err := (&net.Dialer{Timeout: patience, LocalAddr: from}).Dial("tcp", s.addr[listener])
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	k := tls.Client(c, s.tls)
	return newTalk(k), k.Handshake()
}

const neverRight = "never-the-right-1"

func (s *stage) timeSignIn(from net.Addr, login string) (time.Duration, error) {
	return s.timeCall(from, "/sign-in", map[string]string{"login": login, "password": neverRight}, http.StatusUnauthorized)
}

func (s *stage) timeForgotten(from net.Addr, login string) (time.Duration, error) {
	return s.timeCall(from, "/forgotten-password", map[string]string{"login": login, "channel": "email"}, http.StatusOK)
}

func (s *stage) timePhone(from net.Addr, number string) (time.Duration, error) {
	return s.timeCall(from, "/sign-in/phone", map[string]string{"number": number}, http.StatusOK)
}

func (s *stage) timeCall(from net.Addr, path string, in any, want int) (time.Duration, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequest("POST", "https://localhost/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	return s.timeHTTP("api", from, req, want)
}

func (s *stage) timeHTTP(listener string, from net.Addr, req *http.Request, want int) (time.Duration, error) {
	k, err := s.dialFrom(listener, from)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	began := time.Now()
	if err := req.Write(k); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(k), req)
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	_, _ = io.Copy(io.Discard, res.Body)
	if res.Body.Close(); res.StatusCode != want {
		return 0, fmt.Errorf("%s answers %d", listener, res.StatusCode)
	}
	return took, nil
}

func (s *stage) timeDoor(protocol string, from net.Addr, login string) (time.Duration, error) {
	if protocol == "dav" {
		req, err := http.NewRequest("PROPFIND", "https://localhost/"+login+"/", nil)
		if err != nil {
			return 0, err
		}
		req.SetBasicAuth(login, neverRight)
		return s.timeHTTP("dav", from, req, http.StatusUnauthorized)
	}
	k, err := s.dialFrom(protocol, from)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	began, answer, err := k.guess(protocol, login)
	if err == nil && !strings.HasPrefix(answer, wrong[protocol]) {
		err = fmt.Errorf("%s answers %q", protocol, answer)
	}
	return time.Since(began), err
}

// guess sends a wrong password and answers when it was sent.
func (k *talk) guess(protocol, login string) (began time.Time, answer string, err error) {
	first := map[string]string{"imap": "* OK", "pop3": "+OK", "smtp": "220 "}[protocol]
	if _, err = k.hearTo(first); err != nil {
		return began, "", err
	}
	return k.guessAgain(protocol, login)
}

func (k *talk) guessAgain(protocol, login string) (began time.Time, answer string, err error) {
	switch protocol {
	case "pop3":
		if _, err = k.ask("USER "+login, "+OK", "-ERR"); err == nil {
			began = time.Now()
			answer, err = k.ask("PASS "+neverRight, "+OK", "-ERR")
		}
	case "smtp":
		if _, err = k.ask("EHLO client.example", "250 "); err == nil {
			began = time.Now()
			answer, err = k.ask("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+login+"\x00"+neverRight)), "2", "4", "5")
		}
	default:
		began = time.Now()
		answer, err = k.ask("a LOGIN "+quoted(login)+" "+quoted(neverRight), "a ", "* BYE")
	}
	return began, answer, err
}

// difference is the median of what somebody takes longer than nobody.
func (s *stage) difference(t *testing.T, at surface, from *addresses) time.Duration {
	t.Helper()
	var d []time.Duration
	for i := range at.pairs {
		logins := at.who(i)
		var took [2]time.Duration
		for j := range took { // who comes first changes
			who := (i + j) % 2
			var err error
			if took[who], err = at.try(from.next(), logins[who]); err != nil {
				t.Fatalf("%s: %v", at.name, err)
			}
		}
		d = append(d, took[0]-took[1])
	}
	slices.Sort(d)
	return d[len(d)/2]
}

// judged is the difference that counts: where the first one is not well it is measured once more, with more pairs, and that is it.
func (s *stage) judged(t *testing.T, at surface, from *addresses, well func(d time.Duration) bool) time.Duration {
	t.Helper()
	d := s.difference(t, at, from)
	t.Logf("%-18s somebody takes %v longer than nobody, by the median of %d pairs", at.name, d, at.pairs)
	if well(d) {
		return d
	}
	more := at
	more.pairs = again * at.pairs
	more.who = func(i int) [2]string { return at.who(at.pairs + i) }
	d = s.difference(t, more, from)
	t.Logf("%-18s once more: %v, by the median of %d pairs", at.name, d, more.pairs)
	return d
}

func TestDrillTiming(t *testing.T) {
	pairs, bound := pairsAndBound()
	s, from := timed(t, pairs, 1024), &addresses{}
	s.serve()
	well := func(d time.Duration) bool { return d.Abs() < bound }
	for _, at := range s.surfaces(pairs) {
		if d := s.judged(t, at, from, well); !well(d) {
			t.Errorf("%s: %v, want less than %v", at.name, d, bound)
		}
	}
}

// TestDrillTimingFindsALeak builds a server that does not hash for nobody and sends codes while somebody waits, and asks that the
// drill sees it at every surface.
func TestDrillTimingFindsALeak(t *testing.T) {
	s, from := timed(t, leakyPairs, 16384), &addresses{}
	leaky := start{args: []string{"serve", "-config", s.file}, sockets: s.sockets, binary: leakyBuild(t)}.begin(t)
	leaky.says("latchkey serves")
	_, bound := pairsAndBound()
	seen := func(d time.Duration) bool { return d.Abs() >= bound }
	for _, at := range s.surfaces(leakyPairs) {
		if d := s.judged(t, at, from, seen); !seen(d) {
			t.Errorf("%s: a server that leaks differs by %v: the drill would not see it", at.name, d)
		}
	}
}

// leakyPairs are fewer: a leak is not small.
const leakyPairs = 20

// leakyBuild is the program with these leaks, out of a copy of the module.
func leakyBuild(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	run := func(in, command string) {
		t.Helper()
		c := exec.Command("sh", "-c", command)
		c.Dir = in
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	run(root, "git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t '"+dir+"' 2>/dev/null || true")
	for _, p := range []string{"testdata/mutations/dummy-hash.patch", "cmd/latchkey/testdata/sends-meanwhile.patch"} {
		run(dir, "git apply '"+filepath.Join(root, p)+"'")
	}
	run(dir, "go build -o leaky ./cmd/latchkey")
	return filepath.Join(dir, "leaky")
}
