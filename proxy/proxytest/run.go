package proxytest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// Scene is what a Protocol under test is built from.
type Scene struct {
	T        testing.TB
	Auth     *Authenticator
	TLS      *tls.Config // for STARTTLS; nil with SET tls none and in LogIns
	Settings *Settings
}

// Build makes the Protocol under test. It runs inside the script's synctest bubble.
type Build func(s *Scene) proxy.Protocol

// DoorName is the name in the door's certificate; UpstreamName that in the upstream's.
const (
	DoorName     = "door.example"
	UpstreamName = "mail.example"
)

// Dialogues runs the scripts that match glob against a Protocol's Dialogue, as a Server would call it.
func Dialogues(t *testing.T, glob string, build Build) {
	t.Helper()
	each(t, glob, func(t *testing.T, s *script) error { return dialogue(t, s, build) })
}

// LogIns runs the scripts that match glob against a Protocol's LogIn.
func LogIns(t *testing.T, glob string, build Build) {
	t.Helper()
	each(t, glob, func(t *testing.T, s *script) error { return logIn(t, s, build) })
}

func each(t *testing.T, glob string, do func(t *testing.T, s *script) error) {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts match %s (%v)", glob, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			s := readScript(t, file)
			synctest.Test(t, func(t *testing.T) {
				if err := do(t, s); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// run is a script on its way.
type run struct {
	t      testing.TB
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	ca     *CA
	script *script
	auth   *Authenticator

	client   *side      // the script's end toward the door; nil in LogIns
	upstream *side      // the script's end as the upstream; nil in Dialogues
	door     *wire.Conn // the door's end of the only connection
	sni      string

	checked int  // attempts that the script has looked at
	judged  bool // the script has said how the Dialogue or LogIn ends

	done       chan struct{} // closed when the Dialogue or LogIn has returned; then these are set
	gotLogin   *proxy.Login
	gotWelcome proxy.Welcome
	err        error
}

// errCancelled is the cause of a cancelled connection.
var errCancelled = errors.New("cancelled by the script")

func newRun(t testing.TB, s *script) *run {
	ctx, cancel := context.WithCancelCause(t.Context())
	r := &run{t: t, ctx: ctx, cancel: cancel, ca: NewCA(t), script: s, auth: NewAuthenticator(), done: make(chan struct{})}
	for _, p := range s.people {
		if err := r.person(p.rest); err != nil {
			t.Fatalf("%s:%d: %v", s.file, p.line, err)
		}
	}
	return r
}

func (r *run) person(rest string) error {
	f, err := fields(rest)
	if err != nil || len(f) != 3 {
		return fmt.Errorf("PERSON wants a name, a secret and a reason: %v", err)
	}
	if f[2] == "error" {
		r.auth.Broken(f[0], f[1])
		return nil
	}
	for _, reason := range authcore.Reasons() {
		if string(reason) == f[2] {
			r.auth.Person(f[0], f[1], authcore.Decision{Reason: reason})
			return nil
		}
	}
	return fmt.Errorf("%q is not a Reason", f[2])
}

// signInTime is what a Server gives a Dialogue in all.
const signInTime = 60 * time.Second

func dialogue(t *testing.T, s *script, build Build) error {
	r := newRun(t, s)
	info := s.settings.conn(t)
	info.TLSVersion = s.settings.Get("tls_before", "")
	r.sni = s.settings.Get("sni", DoorName)
	clientEnd, doorEnd := Pipe(info.Client, info.Local)
	r.client = newSide(clientEnd, &r.wg)
	r.door = wire.New(doorEnd, wire.Options{Deadline: time.Now().Add(signInTime)})
	defer r.finish(clientEnd)

	scene := &Scene{T: t, Auth: r.auth, Settings: s.settings, TLS: r.ca.Server(t, DoorName)}
	mode := s.settings.Get("tls", "starttls")
	implicit := scene.TLS
	if mode != "starttls" {
		scene.TLS = nil
	}
	protocol := build(scene)
	if err := r.checkSettings(); err != nil {
		return err
	}
	r.wg.Go(func() {
		defer close(r.done)
		if mode == "implicit" {
			if r.err = r.secure(implicit, &info); r.err != nil {
				return
			}
		}
		defer r.door.CloseOn(r.ctx)()
		r.gotLogin, r.err = protocol.Dialogue(r.ctx, r.door, info)
		if r.err != nil {
			_ = r.door.Close() // as the Server does
		}
	})
	if mode == "implicit" {
		if err := r.startTLS(""); err != nil {
			return err
		}
	}
	return r.play()
}

// secure does what a Server does before an implicit TLS dialogue.
func (r *run) secure(cfg *tls.Config, info *authcore.ConnInfo) error {
	if err := r.door.ServerTLS(r.ctx, cfg, 10*time.Second); err != nil {
		return err
	}
	*info = proxy.WithTLS(*info, r.door.TLS())
	return nil
}

func logIn(t *testing.T, s *script, build Build) error {
	r := newRun(t, s)
	doorEnd, upstreamEnd := Pipe(doorAddr, upstreamAddr)
	r.upstream = newSide(upstreamEnd, &r.wg)
	r.door = wire.New(doorEnd, wire.Options{Deadline: time.Now().Add(signInTime)})
	defer r.finish(upstreamEnd)

	leg, login := r.leg(), r.attempted()
	protocol := build(&Scene{T: t, Auth: r.auth, Settings: s.settings})
	if err := r.checkSettings(); err != nil {
		return err
	}
	r.wg.Go(func() {
		defer close(r.done)
		defer r.door.CloseOn(r.ctx)()
		r.gotWelcome, r.err = protocol.LogIn(r.ctx, leg, login)
		if r.err != nil {
			_ = r.door.Close() // as the Server does
		}
	})
	return r.play()
}

// leg is the upstream that the settings describe.
func (r *run) leg() *proxy.Leg {
	s := r.script.settings
	leg := &proxy.Leg{
		Conn: r.door,
		Name: "mail",
		SignIn: proxy.SignIn{
			Way:    proxy.Way(s.Get("way", string(proxy.Master))),
			User:   s.Get("user", "alice@new.example"),
			Master: s.Get("master", "latchkey"),
			Secret: secret.New(s.Get("secret", "master secret")),
		},
		Facts:                 proxy.Facts{Send: s.On("facts"), Session: s.Get("session", "sess1")},
		AuthenticatesOnlyDoor: s.On("authenticates_only_door"),
	}
	if s.On("starttls") {
		leg.StartTLS = r.ca.Client(UpstreamName)
	}
	token := secret.New(s.Get("token", "a.b.c"))
	leg.SignIn.Token = func(context.Context) (secret.String, error) { return token, nil }
	leg.Facts.Conn = r.conn()
	return leg
}

// conn is the client as the settings describe it.
func (r *run) conn() authcore.ConnInfo {
	s := r.script.settings
	info := s.conn(r.t)
	info.ServerName = s.Get("sni", "")
	info.TLSVersion = s.Get("tls_version", "")
	info.TLSCipher = s.Get("tls_cipher", "")
	info.Helo = s.Get("helo", "")
	info.Agent = s.Get("agent", "")
	return info
}

// attempted is the allowed attempt that LogIn is called with.
func (r *run) attempted() *proxy.Login {
	s := r.script.settings
	user := s.Get("user", "alice@new.example")
	at := authcore.Attempt{
		Door: s.Get("door", ""), Mechanism: s.Get("mechanism", "PLAIN"), Conn: r.conn(),
		Credential: authcore.Password{UnverifiedName: user, Secret: secret.New("the client's own")},
	}
	d := filled(user, authcore.Decision{
		Reason: authcore.Allowed, Session: "sess1", Addresses: strings.Split(s.Get("addresses", user), ","),
	})
	return &proxy.Login{Attempt: at, Decision: d, Reply: func(authcore.Reason, proxy.Welcome) error {
		r.t.Error("LogIn has called Reply")
		return nil
	}}
}

func (r *run) checkSettings() error {
	if left := r.script.settings.unasked(); len(left) > 0 {
		return fmt.Errorf("%s: settings that nobody asked for: %v", r.script.file, left)
	}
	return nil
}

// play carries the steps out and judges the end.
func (r *run) play() error {
	for _, st := range r.script.steps {
		if err := r.do(st); err != nil {
			return fmt.Errorf("%s:%d: %s %s\n%w", r.script.file, st.line, st.verb, st.rest, err)
		}
	}
	if err := r.wellEnded(); err != nil {
		return fmt.Errorf("%s: at the end: %w", r.script.file, err)
	}
	return nil
}

func (r *run) wellEnded() error {
	synctest.Wait()
	s := r.client
	if s == nil {
		s = r.upstream
	}
	if left := s.in.unread(); len(left) > 0 && !s.closed {
		return fmt.Errorf("unexpected %q", left)
	}
	if s.wrote != nil {
		return fmt.Errorf("write: %w", s.wrote)
	}
	if len(s.gathered) > 0 {
		return fmt.Errorf("%q was gathered and not sent", s.gathered)
	}
	if r.judged {
		return nil
	}
	if r.client != nil {
		_ = s.conn.Close() // the client leaves, if it has not
	}
	if err := r.ended(); err != nil {
		return err
	}
	switch {
	case r.err == nil && r.client != nil && r.gotLogin == nil:
		return errors.New("the Dialogue answered neither a Login nor an error")
	case r.err != nil && (r.client == nil || !errors.Is(r.err, proxy.ErrGone)):
		return fmt.Errorf("ended with: %w", r.err)
	}
	return nil
}

// ended waits until the Dialogue or LogIn has returned.
func (r *run) ended() error {
	select {
	case <-r.done:
		return nil
	case <-time.After(2 * signInTime):
		return fmt.Errorf("the protocol did not come to an end within %v", 2*signInTime)
	}
}

// login waits for the Login of the Dialogue.
func (r *run) login() (*proxy.Login, error) {
	if r.client == nil {
		return nil, errors.New("there is no client in this script")
	}
	if err := r.ended(); err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, fmt.Errorf("the Dialogue ended with: %w", r.err)
	}
	if r.gotLogin == nil || !r.gotLogin.Decision.Allowed() {
		return nil, errors.New("the Dialogue ended without an allowed Login")
	}
	return r.gotLogin, nil
}

// finish closes everything and waits, also when the script has failed.
func (r *run) finish(end interface{ Close() error }) {
	r.cancel(errCancelled)
	_ = end.Close()
	_ = r.door.Close()
	r.wg.Wait()
}

func (r *run) close(rest string) error {
	s, err := r.which(rest)
	if err != nil {
		return err
	}
	s.closed = true
	return s.conn.Close()
}

func (r *run) clientTLS() *tls.Config {
	cfg := r.ca.Client(DoorName)
	if r.sni == DoorName {
		return cfg
	}
	cfg.ServerName = r.sni
	cfg.InsecureSkipVerify = true // the door's certificate names DoorName alone; SNI is what the script is about
	return cfg
}

func (r *run) upstreamTLS() *tls.Config { return r.ca.Server(r.t, UpstreamName) }
