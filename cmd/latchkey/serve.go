package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
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
	cfg, _, err := p.load("serve", args, nil)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // a log that nobody reads any more must not end the doors
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	h, err := build(ctx, cfg, p.err)
	if err != nil {
		return err
	}
	passed, err := activation.ListenersWithNames()
	if err != nil {
		return errors.Join(fmt.Errorf("sockets passed by systemd: %w", err), h.close())
	}
	socks, err := listenWith(cfg, passed)
	if err != nil {
		return errors.Join(err, h.close())
	}
	h.unused(passed)
	return h.run(ctx, socks, hangup, func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) })
}

// sockets are the listening sockets by the names of their listeners; "ops" is the private one.
type sockets map[string]net.Listener

const opsSocket = "ops"

// unused closes the sockets that were passed for nothing: their clients would wait for ever.
func (h *house) unused(passed map[string][]net.Listener) {
	for name, l := range passed {
		for _, ln := range l {
			h.log.Warn("systemd passed a socket that no listener names", "name", name)
			_ = ln.Close()
		}
	}
}

// listen is listenWith where systemd passes nothing.
func listen(cfg *configs.Config) (sockets, error) { return listenWith(cfg, nil) }

// listenWith opens every socket, or none, and takes out of passed what it uses.
func listenWith(cfg *configs.Config, passed map[string][]net.Listener) (sockets, error) {
	s := sockets{}
	var failed []error
	open := func(name, key, address string) {
		ln, err := listenAt(address, passed)
		if err != nil {
			failed = append(failed, cfg.At(key, "%v", err))
			return
		}
		s[name] = ln
	}
	for i, l := range cfg.Listeners {
		open(l.Name, fmt.Sprintf("listeners[%d].address", i), l.Address)
	}
	open(opsSocket, "ops.address", cfg.Ops.Address)
	if err := errors.Join(failed...); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func listenAt(address string, passed map[string][]net.Listener) (net.Listener, error) {
	name, ok := strings.CutPrefix(address, "systemd:")
	if !ok {
		return net.Listen("tcp", address)
	}
	if len(passed[name]) == 0 {
		return nil, fmt.Errorf("systemd passed no socket named %q: set FileDescriptorName= in the socket unit", name)
	}
	ln := passed[name][0]
	passed[name] = passed[name][1:]
	return ln, nil
}

func (s sockets) close() {
	for _, ln := range s {
		_ = ln.Close()
	}
}

// run serves until ctx ends, then drains. ready is called once every socket accepts.
func (h *house) run(ctx context.Context, socks sockets, hangup <-chan os.Signal, ready func()) error {
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx)) // what goes on while the doors drain
	defer stopBack()
	var beside sync.WaitGroup
	beside.Go(func() { h.report("core", h.core.Run(back)) })
	beside.Go(func() { h.live.Watch(back, h.core, h.core.Revocations(back)) })
	beside.Go(func() { h.door.Run(back) })
	beside.Go(func() { h.probe(back) })
	control, err := h.listenControl()
	if err != nil {
		h.log.Warn("commands cannot talk to this server", "error", err)
	} else {
		beside.Go(func() { h.report("control socket", serveControl(back, h, control)) })
	}
	front, stopFront := context.WithCancel(ctx)
	defer stopFront()
	var doors sync.WaitGroup
	failed := make(chan error, len(socks))
	for name, ln := range socks {
		doors.Go(func() {
			if err := h.serve(front, name, ln); err != nil && front.Err() == nil {
				failed <- fmt.Errorf("listener %s: %w", name, err)
			}
		})
	}
	for name, ln := range socks {
		h.log.Info("listening", "listener", name, "address", ln.Addr().String())
	}
	h.log.Info("latchkey serves", "listeners", len(socks), "data", h.snapshot().cfg.Data, "pid", os.Getpid())
	if ready != nil {
		ready()
	}
	err = h.attend(front, hangup, failed)
	h.drain(stopFront)
	doors.Wait()
	stopBack()
	beside.Wait()
	return errors.Join(err, h.close())
}

// attend reloads on hang-ups until ctx ends or a listener fails.
func (h *house) attend(ctx context.Context, hangup <-chan os.Signal, failed <-chan error) error {
	for {
		select {
		case <-hangup:
			h.reload()
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// drain stops accepting, lets what is in flight finish, and cuts what is left at the deadline.
func (h *house) drain(stopFront func()) {
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	h.core.Draining()
	within := h.snapshot().cfg.Limits.DrainTimeout
	h.log.Info("draining", "within", within, "sessions", h.live.Len())
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	stopFront()
	if err := h.server.Shutdown(ctx); err != nil {
		h.log.Warn("some sessions were cut", "error", err)
	}
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
		return h.door.Serve(ctx, h.server.Limit(name, headed), h.certs.Config("h2", "http/1.1"), func() dav.Settings { return davSettings(h.listener(name)) })
	case configs.API:
		return h.serveHTTP(ctx, h.server.Limit(name, headed), h.apiHandler(), h.certs.Config("h2", "http/1.1"))
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

func davSettings(l configs.Listener) dav.Settings {
	return dav.Settings{Listener: l.Name, Doors: map[string][]string{"": l.Doors}, ContextPath: l.ContextPath, DefaultDomain: l.DefaultDomain}
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
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		within, cancel := context.WithTimeout(context.Background(), h.snapshot().cfg.Limits.DrainTimeout)
		defer cancel()
		_ = s.Shutdown(within) // past the deadline connections are closed below
		_ = s.Close()
	})
	var err error
	if conf != nil {
		err = s.ServeTLS(ln, "", "")
	} else {
		err = s.Serve(ln)
	}
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (h *house) close() error {
	h.relay.Close(proxy.ErrDrain)
	h.snapshot().pool.Close()
	return h.db.Close()
}
