package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/configs"
	"latchkey/policy"
	"latchkey/proxy/demo"
)

// demoOptions are the flags of the demo.
type demoOptions struct {
	data     string
	ports    string
	describe string
	hold     time.Duration
	log      string
}

func demoCommand(ctx context.Context, p program, args []string) error {
	var o demoOptions
	f := p.flags("demo")
	f.StringVar(&o.data, "data", "", "`folder` that keeps the demo's data; without it a temporary one is used and removed")
	f.StringVar(&o.ports, "ports", "fixed", "fixed, or auto for free ports, so that many demos run side by side")
	f.StringVar(&o.describe, "describe", "", "`file` (0600) to write people, passwords and addresses to, as JSON, once every listener accepts")
	f.DurationVar(&o.hold, "hold", 2*time.Second, "how long a refusal is held back")
	f.StringVar(&o.log, "log", "warn", "`level` of the log: debug, info, warn or error")
	words, err := parse(f, args)
	if err != nil {
		return err
	}
	if len(words) > 0 || o.ports != "fixed" && o.ports != "auto" {
		return misused("-ports must be fixed or auto, and nothing stands alone")
	}
	if err := new(slog.Level).UnmarshalText([]byte(o.log)); err != nil {
		return misused("-log must be debug, info, warn or error")
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal was closed: what the folder holds must not stay
	defer stop()
	return runDemo(ctx, p, o)
}

// demoHouse is the demo: a whole house, and the servers behind its doors.
type demoHouse struct {
	h      *house
	socks  sockets
	behind *demo.Server
	dav    *http.Server
	dir    string
	people []sample.Person
	token  secret.String
	outbox demoOutbox // codes, for whoever tries the demo
}

func runDemo(ctx context.Context, p program, o demoOptions) error {
	if err := takeAway(o.describe); err != nil {
		return err
	}
	dir, remove, err := demoFolder(o.data)
	if err != nil {
		return err
	}
	defer remove()
	d, err := newDemo(ctx, p, dir, o)
	if err != nil {
		return err
	}
	defer d.closeBehind()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var described error
	_, err = d.h.run(ctx, shift{socks: d.socks, ready: func() {
		d.print(p.out)
		if o.describe == "" {
			return
		}
		if described = d.describe(o.describe); described != nil {
			stop() // whoever waits for the description would wait for ever
		}
	}})
	return errors.Join(described, err)
}

// takeAway removes the description of an earlier run, so that nobody takes it for this one's.
func takeAway(file string) error {
	if file == "" {
		return nil
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("describe: %w", err)
	}
	return nil
}

func demoFolder(data string) (dir string, remove func(), err error) {
	if data != "" {
		dir, err = filepath.Abs(data)
		if err == nil {
			err = os.MkdirAll(dir, 0o700)
		}
		return dir, func() {}, err
	}
	dir, err = os.MkdirTemp("", "latchkey-demo-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

func newDemo(ctx context.Context, p program, dir string, o demoOptions) (*demoHouse, error) {
	d := &demoHouse{dir: dir}
	if err := d.build(ctx, p, o); err != nil {
		d.closeBehind()
		return nil, err
	}
	return d, nil
}

func (d *demoHouse) build(ctx context.Context, p program, o demoOptions) error {
	if err := demoCertificate(d.dir); err != nil {
		return err
	}
	master := secret.New(rand.Text())
	if err := os.WriteFile(filepath.Join(d.dir, "master"), []byte(master.Reveal()+"\n"), 0o600); err != nil {
		return err
	}
	upstreams, err := d.startBehind(master)
	if err != nil {
		return err
	}
	cfg := demoConfig(d.dir, upstreams, o)
	if d.socks, err = listen(cfg); err != nil {
		return fmt.Errorf("%w\nif another demo is running: -ports auto takes free ports", err)
	}
	_, port, err := net.SplitHostPort(d.socks[configs.API].Addr().String())
	if err != nil {
		d.socks.close()
		return err
	}
	cfg.WebAuthn.Origins = []string{"https://localhost:" + port}
	cfg.Programs = d.programs(cfg)
	if d.h, err = buildWith(ctx, cfg, p.err, d.outbox.ways()); err != nil {
		d.socks.close()
		return err
	}
	d.h.more = map[string]http.Handler{"GET " + demoOutboxPath: &d.outbox}
	if err := d.seed(ctx); err != nil {
		d.socks.close()
		return errors.Join(err, d.h.close())
	}
	return nil
}

// programs tells the ports that were found free.
func (d *demoHouse) programs(cfg *configs.Config) (p configs.Programs) {
	for _, l := range cfg.Listeners {
		at, ok := d.socks[l.Name].Addr().(*net.TCPAddr)
		if !ok {
			continue
		}
		doors := l.Doors
		switch l.Protocol {
		case configs.API:
			p.Pages = fmt.Sprintf("https://localhost:%d", at.Port)
		case configs.DAV:
		default:
			doors = []string{l.Protocol}
		}
		for _, door := range doors {
			p.Doors = append(p.Doors, configs.ProgramDoor{Door: door, Host: cfg.Hostname, Port: at.Port, TLS: l.TLS})
		}
	}
	return p
}

// startBehind starts the servers behind the doors on free ports of loopback.
func (d *demoHouse) startBehind(master secret.String) (map[string]string, error) {
	var err error
	d.behind, err = demo.New(demo.Options{Domains: []string{sample.New, sample.Old}, Master: demoMaster, MasterSecret: master})
	if err != nil {
		return nil, err
	}
	return d.listenBehind()
}

// listenBehind answers where they listen, by protocol.
func (d *demoHouse) listenBehind() (map[string]string, error) {
	at := map[string]string{}
	d.dav = &http.Server{Handler: d.behind.DAV(), ReadHeaderTimeout: headerWithin, IdleTimeout: idleHTTP}
	for name, serve := range map[string]func(net.Listener) error{
		configs.IMAP: d.behind.ServeIMAP, configs.POP3: d.behind.ServePOP3, configs.SMTP: d.behind.ServeSMTP, "http": d.dav.Serve,
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		at[name] = ln.Addr().String()
		go func() { _ = serve(ln) }() // ends with closeBehind
	}
	return at, nil
}

func (d *demoHouse) closeBehind() {
	if d.dav != nil {
		_ = d.dav.Close()
	}
	if d.behind != nil {
		_ = d.behind.Close()
	}
}

const demoMaster = "latchkey"

// demoPorts are those of a demo with fixed ports.
var demoPorts = [...]struct {
	name, protocol, tls string
	doors               []string
	port                int
}{
	{"imap", configs.IMAP, configs.StartTLS, nil, 10143},
	{"imaps", configs.IMAP, configs.Implicit, nil, 10993},
	{"submission", configs.SMTP, configs.StartTLS, nil, 10587},
	{"submissions", configs.SMTP, configs.Implicit, nil, 10465},
	{"pop3", configs.POP3, configs.StartTLS, nil, 10110},
	{"pop3s", configs.POP3, configs.Implicit, nil, 10995},
	{"dav", configs.DAV, configs.Implicit, []string{policy.CalDAV, policy.CardDAV}, 10443},
	{"api", configs.API, configs.Implicit, nil, 10444},
}

const demoOpsPort = 10445

func demoConfig(dir string, upstreams map[string]string, o demoOptions) *configs.Config {
	c := configs.Default()
	c.Data, c.Keys, c.Hostname = filepath.Join(dir, "data"), filepath.Join(dir, "keys.json"), "localhost"
	c.Log.Level = o.log
	c.Console.HSTSDays = 0 // localhost is others' too
	c.Certificates = []configs.Certificate{{CertFile: filepath.Join(dir, "server.pem"), KeyFile: filepath.Join(dir, "server.key")}}
	c.Limits.Hold = o.hold
	c.Limits.DrainTimeout = 15 * time.Second // an idle session hears BYE when it was quiet for 10 s
	address := func(port int) string {
		if o.ports == "auto" {
			port = 0
		}
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
	for _, l := range demoPorts {
		c.Listeners = append(c.Listeners, configs.Listener{Name: l.name, Protocol: l.protocol, TLS: l.tls, Doors: l.doors, Address: address(l.port)})
	}
	c.Ops.Address = address(demoOpsPort)
	c.Upstreams = map[string]configs.Upstream{}
	for protocol, at := range upstreams {
		u := configs.Upstream{Protocol: protocol, Addresses: []string{at}, TLS: configs.TLS{Mode: "none"}, SignIn: "master", Master: demoMaster, SecretFile: filepath.Join(dir, "master")}
		if protocol == "http" {
			u.SignIn, u.Master, u.SecretFile, u.Header = "header", "", "", "X-Remote-User"
		}
		c.Upstreams["demo-"+protocol] = u
	}
	return &c
}

// seed makes the people, or finds them in a data folder that was used before.
func (d *demoHouse) seed(ctx context.Context) error {
	rctx, stop := context.WithCancel(ctx)
	defer stop()
	_, err := d.h.core.Domain(ctx, authcore.CommandActor("demo"), sample.New)
	var denied *authcore.Denial
	switch {
	case errors.As(err, &denied) && denied.Reason == authcore.NotFound:
		d.people, err = sample.Make(rctx, d.h.core, nil)
		if err == nil {
			err = d.keepPeople()
		}
	case err == nil:
		err = d.foundPeople()
	}
	if err != nil {
		return err
	}
	for _, person := range d.people {
		if err := d.behind.AddPerson(person.Address); err != nil {
			return err
		}
	}
	d.token, err = d.h.core.OpenToken(ctx, authcore.CommandActor("demo"), "operator@"+sample.New, "demo")
	return err
}

// demoCertificate makes a certificate authority and a certificate for localhost, kept in the folder.
func demoCertificate(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "server.pem")); err == nil {
		return nil
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "Latchkey demo"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "ca.pem"), block("CERTIFICATE", caDER), 0o644),
		os.WriteFile(filepath.Join(dir, "server.key"), block("PRIVATE KEY", pkcs8), 0o600),
		os.WriteFile(filepath.Join(dir, "server.pem"), append(block("CERTIFICATE", der), block("CERTIFICATE", caDER)...), 0o644),
	)
}
