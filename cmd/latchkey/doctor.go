package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"latchkey/authcore/notify"
	"latchkey/authcore/oidc"
	"latchkey/authcore/secret"
	"latchkey/authcore/store/sqlite"
	"latchkey/configs"
	"latchkey/proxy/upstream"
)

// doctorCommand tries what check cannot see: it dials every upstream, signs in there, compares what they offer, tries
// what must not work, and reads the whole store when no server holds it.
func doctorCommand(ctx context.Context, p program, args []string) error {
	var c upstream.Checkup
	var passwordFile, mail, sms, domains string
	var accept, sure bool
	cfg, _, err := p.load("doctor", args, func(f *flag.FlagSet) {
		f.StringVar(&c.Address, "member", "", "`address` of a member who exists at every upstream, to be signed in there")
		f.StringVar(&c.ID, "member-id", "", "his `id`, for upstreams that know members by it")
		f.StringVar(&c.Outside, "outside", "", "`recipient` of another domain for a RCPT that is taken back; nothing is sent")
		f.StringVar(&passwordFile, "password-file", "", "`file` whose first line is his account password, for upstreams with sign_in passthrough")
		f.StringVar(&mail, "mail-to", "", "`address` that a test message is sent to by e-mail")
		f.StringVar(&domains, "dns", "", "`domains`, with commas, whose DNS records are compared with where the doors are")
		f.BoolVar(&accept, "accept-rollback", false, "of a fleet: tell what the store has lost, and go on without it after you have typed that you want it")
		f.BoolVar(&sure, "yes", false, "with -accept-rollback: do not ask")
		f.StringVar(&sms, "sms-to", "", "`number`, like +819012345678, that a test message is sent to")
	})
	if err != nil {
		return err
	}
	if accept {
		return acceptRollback(ctx, p, cfg, sure)
	}
	if sure {
		return misused("-yes goes with -accept-rollback")
	}
	if c.Password, err = (configs.Upstream{SecretFile: passwordFile}).Secret(); err != nil {
		return err
	}
	failures := 0
	m, warnings, err := check(cfg.Path())
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintf(p.out, "warning  %v\n", w)
	}
	for _, x := range m {
		fmt.Fprintf(p.out, "error    %v\n", x)
		failures++
	}
	doctorHost(p.out, os.DirFS("/"), cfg)
	if cfg.Fleet() {
		failures += doctorFleet(ctx, p, cfg)
	} else {
		failures += doctorStore(ctx, p, cfg)
	}
	failures += doctorProviders(ctx, p, cfg)
	failures += doctorDNS(ctx, p.out, net.DefaultResolver, cfg, domains)
	failures += doctorMessages(ctx, p, cfg, map[notify.Channel]string{notify.ByEmail: mail, notify.BySMS: sms})
	findings, err := examine(ctx, cfg, c)
	if err != nil {
		return err
	}
	for _, f := range findings {
		fmt.Fprintf(p.out, "%-8s upstream %s: %s\n         mend: %s\n", f.Level, f.Upstream, f.What, f.Mend)
		if f.Level == upstream.Failure {
			failures++
		}
	}
	if failures > 0 {
		return fmt.Errorf("%s to mend", count(failures, "error"))
	}
	fmt.Fprintf(p.out, "%s examined, nothing to mend that would keep members out.\n", count(len(cfg.Upstreams), "upstream"))
	return nil
}

func examine(ctx context.Context, cfg *configs.Config, c upstream.Checkup) ([]upstream.Finding, error) {
	l, err := servers(cfg)
	if err != nil {
		return nil, err
	}
	o := upstream.Options{Servers: l, HelloName: cfg.Hostname, Token: noToken}
	if keys, err := secret.Load(cfg.Keys); err == nil {
		signer := &oidc.Signer{Keys: keys, Issuer: cfg.Tokens.Issuer, Now: time.Now}
		o.Token = func(_ context.Context, c upstream.Claims) (secret.String, error) {
			return signer.Token(oidc.Claims{Issuer: c.Issuer, Audience: c.Audience, Subject: c.Subject})
		}
	}
	pool, err := upstream.New(o)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	return pool.Doctor(ctx, c), nil
}

// doctorStore reads every record when the store is free.
func doctorStore(ctx context.Context, p program, cfg *configs.Config) (failures int) {
	if _, err := os.Stat(cfg.Data); err != nil {
		fmt.Fprintf(p.out, "warning  store: %s is not there yet: it is made at the first start\n", cfg.Data)
		return 0
	}
	var db *sqlite.DB
	err := ownStore(cfg)
	if err == nil {
		db, err = sqlite.Open(ctx, sqlite.Options{Dir: cfg.Data, Marker: markerOf(cfg)})
	}
	if errors.Is(err, sqlite.ErrLocked) {
		fmt.Fprintln(p.out, "ok       store: a running server holds it; its records are checked as they are read")
		return 0
	}
	if err != nil {
		fmt.Fprintf(p.out, "error    store: %v\n", mendStore(err, cfg))
		return 1
	}
	defer db.Close()
	if err := db.Verify(ctx); err != nil {
		fmt.Fprintf(p.out, "error    store: %v\n         mend: latchkey restore from the last backup into an empty folder\n", err)
		return 1
	}
	fmt.Fprintln(p.out, "ok       store: every record is what was written")
	return 0
}
