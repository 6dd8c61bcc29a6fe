package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/otp"
	"latchkey/authcore/quick"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/sqlite"
	"latchkey/policy"
)

// keysStage is a store of which nothing hangs on a server key, until a test has something made.
type keysStage struct {
	*authtest.Core
	t     testing.TB
	w     works
	actor authcore.Actor
	ahead atomic.Int64 // of the time
}

func (s *keysStage) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

func newKeysStage(t testing.TB) *keysStage {
	t.Helper()
	s := &keysStage{t: t}
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
	s.must(err)
	t.Cleanup(func() { _ = db.Close() })
	s.Core = authtest.New(t, func(o *authcore.Options) {
		o.Records, o.Ephemeral, o.Now = db, memory.NewEphemeral(memory.Options{Now: s.now}), s.now
	})
	s.w = works{core: s.Core.Core, db: &embedded{DB: db}, keys: s.Keys, keysFile: filepath.Join(t.TempDir(), "keys.json"), turn: &sync.Mutex{}}
	s.must(s.Keys.Create(s.w.keysFile))
	s.must(authcore.NoteKeys(t.Context(), db, s.Keys))
	p, rev, err := s.Policy(t.Context(), authtest.Operator(), sample.Old)
	s.must(err)
	p.SignIn.Quick, p.SignIn.Phone = policy.Allow, policy.Allow
	_, err = s.SetPolicy(t.Context(), authtest.Operator(), sample.Old, p, rev)
	s.must(err)
	s.actor = s.Actor(t, "account")
	s.clear(s.Keys.CurrentMAC(), func(string) bool { return true })
	return s
}

func (s *keysStage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// naming lists the records that name a server key, however they do it. The record of all keys that were ever used is none.
func (s *keysStage) naming(id string) (l []store.Key) {
	s.t.Helper()
	for e, err := range s.w.db.Snapshot(s.t.Context()) {
		s.must(err)
		k := store.Key{Partition: e.Partition, Name: e.Record.Name}
		if !e.IsHead() && k != authcore.UsedKeysKey && bytes.Contains(e.Record.Value, []byte(id)) {
			l = append(l, k)
		}
	}
	return l
}

// clear deletes what hangs on a key, of the kinds that are asked for.
func (s *keysStage) clear(id string, which func(kind string) bool) {
	s.t.Helper()
	for _, k := range s.naming(id) {
		if kind, _, _ := strings.Cut(k.Name, "/"); which(kind) {
			_, err := s.w.db.Apply(s.t.Context(), k.Partition, store.Op{Kind: store.Delete, Name: k.Name, IfRevision: store.AnyRevision})
			s.must(err)
		}
	}
}

func (s *keysStage) registerDevice() {
	s.t.Helper()
	began, err := s.BeginQuickDevice(s.t.Context(), s.actor)
	s.must(err)
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	s.must(err)
	h := sha256.Sum256(quick.Message(quick.Registering, began.Challenge, began.Device, authtest.Origin))
	r, v, err := ecdsa.Sign(rand.Reader, k, h[:])
	s.must(err)
	sig := append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)
	_, err = s.RegisterQuickDevice(s.t.Context(), s.actor, authcore.NewQuickDevice{
		Ticket: began.Ticket, Name: "Phone", Key: json.RawMessage(`"` + base64.RawURLEncoding.EncodeToString(der) + `"`), PIN: secret.New("283947"),
		Origin: authtest.Origin, Signature: base64.RawURLEncoding.EncodeToString(sig),
	})
	s.must(err)
}

func (s *keysStage) enrolApp() {
	s.t.Helper()
	n, err := s.BeginApp(s.t.Context(), s.actor)
	s.must(err)
	code, err := otp.CodeAt(n.Secret, s.now())
	s.must(err)
	_, err = s.ConfirmApp(s.t.Context(), s.actor, code)
	s.must(err)
}

// codeAsMessage has a code to sign in lie in the inbox.
func (s *keysStage) codeAsMessage() {
	s.t.Helper()
	const number = "+819012345678"
	asked, err := s.LinkPhone(s.t.Context(), s.actor, number)
	s.must(err)
	_, err = s.ConfirmPhoneLink(s.t.Context(), s.actor, asked.Ticket, secret.New(s.Code(s.t, sample.Old, number)))
	s.must(err)
	s.ahead.Add(int64(2 * time.Minute)) // between two codes to a number
	asked, err = s.SignInPhone(s.t.Context(), authtest.Client(), number)
	s.must(err)
	s.ahead.Add(int64(2 * time.Minute))
	s.must(s.SignInPhoneMessage(s.t.Context(), authtest.Client(), asked.Ticket))
}

// Every kind of record that is made with a server key is counted under it, and holds it by itself.
func TestKeysCountEveryKind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind string
		n    int
		make func(s *keysStage)
	}{
		"app password": {"app-passwords", 1, func(s *keysStage) {
			_, _, err := s.CreateAppPassword(t.Context(), s.actor, apppass.Wish{Name: "mail"})
			s.must(err)
		}},
		"secret of an authenticator app": {"two-step", 1, (*keysStage).enrolApp},
		"recovery codes": {"two-step", 10, func(s *keysStage) {
			_, err := s.NewRecoveryCodes(t.Context(), s.actor)
			s.must(err)
		}},
		"PIN of quick login": {"quick", 1, (*keysStage).registerDevice},
		"message on its way out": {"outbox", 1, func(s *keysStage) {
			_, err := s.BeginContact(t.Context(), s.actor, authcore.ContactWish{Kind: member.Email, Value: "me@elsewhere.example"})
			s.must(err)
		}},
		"code in the inbox": {"message", 1, (*keysStage).codeAsMessage},
		"answer of an idempotency key": {"idempotency", 1, func(s *keysStage) {
			ctx := authcore.WithIdempotencyKey(t.Context(), secret.New("an idempotency key"), "request")
			_, _, err := s.CreateAppPassword(ctx, s.actor, apppass.Wish{Name: "mail"})
			s.must(err)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newKeysStage(t)
			c.make(s)
			s.holds(c.kind, c.n)
		})
	}
}

// holds asks that n of a kind hang on the key, which is then a former one, and that it goes when they went.
func (s *keysStage) holds(kind string, n int) {
	s.t.Helper()
	old, ctx := s.Keys.CurrentMAC(), s.t.Context()
	s.must(rotateKeys(ctx, s.w, true, false, io.Discard))
	used, err := countKeys(ctx, s.w, io.Discard)
	s.must(err)
	for _, k := range s.naming(old) {
		if kind, _, _ := strings.Cut(k.Name, "/"); kind != "audit" && used[old][kind] == 0 {
			s.t.Errorf("%s names the key and is not counted", k.Name)
		}
	}
	s.clear(old, func(other string) bool { return other != kind && other != "audit" })
	want := fmt.Sprintf("%d of %s", n, kind)
	var list bytes.Buffer
	s.must(listKeys(ctx, s.w, &list))
	if !strings.Contains(list.String(), "former   "+want+"\n") {
		s.t.Errorf("want %q of the former key:\n%s", want, list.String())
	}
	if err := dropKey(ctx, s.w, old, io.Discard); err == nil || !strings.Contains(err.Error(), "is needed: "+want+" hang on it") || !s.Keys.Has(old) {
		s.t.Errorf("dropped while %s hang on it: %v", want, err)
	}
	s.clear(old, func(other string) bool { return other == kind })
	if err := dropKey(ctx, s.w, old, io.Discard); err != nil || s.Keys.Has(old) {
		s.t.Errorf("nothing hangs on it: %v", err)
	}
}
