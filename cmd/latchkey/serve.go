package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"latchkey/authcore"
	"latchkey/configs"
	"latchkey/proxy"
	"latchkey/proxy/dav"
	"latchkey/proxy/imap"
	"latchkey/proxy/pop3"
	"latchkey/proxy/smtp"
)

func serveCommand(ctx context.Context, p program, args []string) error {
	var over bool
	cfg, _, err := p.load("serve", args, func(f *flag.FlagSet) {
		f.BoolVar(&over, "takeover", false, "take the sockets over from the server that runs on this data folder, if one does")
	})
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // a log that nobody reads any more must not end the doors
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	renew := make(chan os.Signal, 1)
	signal.Notify(renew, syscall.SIGUSR2)
	defer signal.Stop(renew)
	own, err := os.Executable() // now: the file will be replaced
	if err != nil {
		return err
	}
	h, w, err := begin(ctx, cfg, over, p.err)
	if err != nil {
		return err
	}
	h.program = own
	h.warnOfHost(os.DirFS("/"))
	w.renew, w.hangup, w.ready = renew, hangup, func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) }
	return h.serveOn(ctx, w, p.err)
}

// begin brings the house to where it may accept, after another process or none.
func begin(ctx context.Context, cfg *configs.Config, over bool, log io.Writer) (h *house, w shift, err error) {
	systemd, err := activation.ListenersWithNames()
	if err != nil {
		return nil, w, fmt.Errorf("sockets passed by systemd: %w", err)
	}
	if over {
		if w.elder, err = callElder(ctx, cfg); err != nil {
			return nil, w, err
		}
	}
	if w.elder != nil {
		return w.elder.begin(ctx, cfg, log)
	}
	if h, err = build(ctx, cfg, log); err != nil {
		return nil, w, err
	}
	if w.socks, err = listenWith(cfg, systemd); err != nil {
		return nil, w, errors.Join(err, h.close())
	}
	h.unused("systemd", systemd)
	return h, w, nil
}

// serveOn runs the house, and another one like it when a process took over and failed.
func (h *house) serveOn(ctx context.Context, w shift, log io.Writer) error {
	var rest sync.WaitGroup
	defer rest.Wait()
	w.rest = &rest
	for {
		again, err := h.run(ctx, w)
		if !again {
			return err
		}
		next, err := h.another(ctx, log)
		if err != nil {
			w.socks.close()
			return fmt.Errorf("serve again after a process failed to take over: %w", err)
		}
		h, w.elder = next, nil
	}
}

// another builds the house again, as it was started and then reloaded. A process that has just died may still hold the
// lock for a moment.
func (h *house) another(ctx context.Context, log io.Writer) (next *house, err error) {
	dead := &elder{gone: true}
	if next, err = dead.buildAfter(ctx, h.first, log); err != nil {
		return nil, err
	}
	s, err := next.newSettings(h.snapshot().cfg)
	if err != nil {
		return nil, errors.Join(err, next.close())
	}
	next.snapshot().pool.Close()
	next.now.Store(s)
	next.program = h.program
	return next, nil
}

func (h *house) report(what string, err error) {
	if err != nil {
		h.log.Error(what+" ended", "error", err)
	}
}

// probe keeps the health of the upstreams, those of a new configuration after a reload.
func (h *house) probe(ctx context.Context) {
	for ctx.Err() == nil {
		pool := h.snapshot().pool
		pctx, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); pool.Run(pctx) }()
		for h.snapshot().pool == pool && ctx.Err() == nil {
			pause(ctx, time.Second)
		}
		stop()
		<-done
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// reload reads configuration and certificates again; on any mistake the old ones stay, and the log says why.
func (h *house) reload() {
	old := h.snapshot()
	cfg, err := configs.Load(old.cfg.Path())
	if err != nil {
		h.log.Error("reload: the old configuration stays", "error", err)
		return
	}
	next, err := h.newSettings(cfg)
	if err != nil {
		h.log.Error("reload: the old configuration stays", "error", err)
		return
	}
	for _, key := range needRestart(old.cfg, cfg) {
		h.log.Warn("reload: this key changes only with a restart", "key", key)
	}
	if err := h.reloadKeys(context.Background(), h.first.Keys); err != nil {
		h.log.Error("reload: the old server keys stay", "error", err)
	}
	warnings, err := h.certs.Reload()
	if err != nil {
		h.log.Error("reload: the old certificates stay", "error", err)
	}
	for _, w := range warnings {
		h.log.Warn("certificate", "file", w.File, "warning", w.Text)
	}
	_ = h.level.UnmarshalText([]byte(cfg.Log.Level))
	h.now.Store(next)
	old.pool.Close()
	h.log.Info("reloaded", "file", cfg.Path())
}

// serve serves one listener until ctx ends.
func (h *house) serve(ctx context.Context, name string, ln net.Listener) error {
	if name == opsSocket {
		return h.serveHTTP(ctx, ln, h.opsHandler(), nil)
	}
	l := h.listener(name)
	headed := proxy.HeaderListener(ln, func() []netip.Prefix { return h.listener(name).ProxyFrom })
	switch l.Protocol {
	case configs.DAV:
		return h.door.Serve(ctx, h.server.Limit(name, headed), h.certs.Config("h2", "http/1.1"), h.davSettings(name))
	case configs.API:
		return h.serveHTTP(ctx, h.server.Limit(name, headed), h.web, h.certs.Config("h2", "http/1.1"))
	}
	implicit, proto := h.protocol(name, l)
	return h.server.Serve(ctx, ln, func() proxy.Listener {
		l := h.listener(name)
		return proxy.Listener{Name: name, Protocol: proto, TLS: implicit, ProxyFrom: l.ProxyFrom, DefaultDomain: l.DefaultDomain, Idle: h.snapshot().cfg.Limits.IdleTimeout}
	})
}

// listener is the listener's settings of now; those of the start where a reload dropped it or made something else of it,
// for its socket is open until a restart.
func (h *house) listener(name string) configs.Listener {
	begun, _ := listenerOf(h.first, name)
	now, ok := listenerOf(h.snapshot().cfg, name)
	if !ok || now.Protocol != begun.Protocol {
		return begun
	}
	return now
}

func listenerOf(c *configs.Config, name string) (configs.Listener, bool) {
	for _, l := range c.Listeners {
		if l.Name == name {
			return l, true
		}
	}
	return configs.Listener{}, false
}

// protocol makes a listener's door. STARTTLS has its settings, implicit TLS has the listener's.
func (h *house) protocol(name string, l configs.Listener) (implicit *tls.Config, p proxy.Protocol) {
	cfg := h.snapshot().cfg
	conf := h.certs.Config()
	var start *tls.Config
	if l.TLS == configs.StartTLS {
		start, conf = conf, nil
	}
	offer := func(authcore.ConnInfo) []string { return h.offer(name, l.Protocol) }
	switch l.Protocol {
	case configs.IMAP:
		return conf, imap.New(imap.Options{Auth: h.auth, StartTLS: start, Offer: offer, Hostname: cfg.Hostname})
	case configs.POP3:
		return conf, pop3.New(pop3.Options{Auth: h.auth, StartTLS: start, Offer: offer, Hostname: cfg.Hostname})
	default:
		return conf, smtp.New(smtp.Options{Authenticator: h.auth, TLS: start, Offer: offer, Hostname: cfg.Hostname, AllowAnySender: l.AnySender})
	}
}

// offer is what every upstream that the listener may lead to offers.
func (h *house) offer(name, protocol string) []string {
	s := h.snapshot()
	names := h.listener(name).Upstreams
	if len(names) == 0 {
		for u, c := range s.cfg.Upstreams {
			if c.Protocol == protocol {
				names = append(names, u)
			}
		}
	}
	return s.pool.Offer(protocol, names)
}

// davSettings are asked for with each request, and made once for a configuration.
func (h *house) davSettings(listener string) func() dav.Settings {
	type settled struct {
		of *settings
		s  dav.Settings
	}
	var last atomic.Pointer[settled]
	return func() dav.Settings {
		now, made := h.snapshot(), last.Load()
		if made == nil || made.of != now {
			made = &settled{now, h.davSettingsOf(h.listener(listener))}
			last.Store(made)
		}
		return made.s
	}
}

func (h *house) davSettingsOf(l configs.Listener) dav.Settings {
	s := dav.Settings{Listener: l.Name, Doors: map[string][]string{"": l.Doors}, ContextPath: l.ContextPath, DefaultDomain: l.DefaultDomain}
	if len(l.PagesFor) > 0 {
		s.Elsewhere = func(host string) http.Handler {
			if l.PagesAt(host) {
				return h.web
			}
			return nil
		}
	}
	return s
}

// Bounds of an HTTP request to the API or the private listener.
const (
	headerWithin = 10 * time.Second
	bodyWithin   = 60 * time.Second
	idleHTTP     = 2 * time.Minute
	maxHeader    = 32 << 10
)

func (h *house) serveHTTP(ctx context.Context, ln net.Listener, handler http.Handler, conf *tls.Config) error {
	s := &http.Server{
		Handler: handler, TLSConfig: conf, ReadHeaderTimeout: headerWithin, ReadTimeout: bodyWithin, IdleTimeout: idleHTTP, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
	return h.ebb.Serve(ctx, s, ln, h.snapshot().cfg.Limits.DrainTimeout)
}
