package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/authcore/store/sqlite"
	"latchkey/configs"
)

// A command that needs the store opens it itself when no server runs. When one does, it holds the store, and the command
// is carried out there: words and streams travel over control.sock, never a path that the server would open. Who may
// connect is said by the kernel: the server's own user, or root.

// storeWork is what such a command does, wherever it runs.
type storeWork struct {
	name string
	do   func(ctx context.Context, w works, words []string, in io.Reader, out io.Writer) error
}

// works is what it works on.
type works struct {
	core     *authcore.Core
	db       engine
	keys     *secret.Keys
	keysFile string
	turn     *sync.Mutex // of who changes keys
	fleet    bool        // others share the store
	cfg      *configs.Config
}

func (h *house) works() works {
	return works{core: h.core, db: h.db, keys: h.keys, keysFile: h.first.Keys, turn: &h.keysTurn, fleet: h.first.Fleet(), cfg: h.first}
}

func storeWorks() []storeWork {
	return []storeWork{
		{"operator", operatorWork},
		{"import", importWork},
		{"backup", backupWork},
		{"keys", keysWork},
		{"doctor", doctorWork},
		{"rollback", rollbackWork},
	}
}

const (
	controlName = "control.sock"
	wordsHeader = "Latchkey-Words"
	failTrailer = "Latchkey-Failed"
	maxSockPath = 100 // sun_path holds 108 bytes

	controlEnd = 5 * time.Second // for a command to end when the server does
)

// controlPath lies in the data directory, or in the runtime directory where that path would be too long: there under a
// name that is this data directory's alone, for servers may share it.
func controlPath(cfg *configs.Config) string {
	p := filepath.Join(cfg.Data, controlName)
	if len(p) <= maxSockPath {
		return p
	}
	dir := os.Getenv("RUNTIME_DIRECTORY")
	if dir == "" {
		dir = "/run/latchkey"
	}
	sum := sha256.Sum256([]byte(cfg.Data))
	return filepath.Join(dir, fmt.Sprintf("%x-%s", sum[:8], controlName))
}

// inStore carries the work out: here if the store is free, at the server that holds it otherwise.
func inStore(ctx context.Context, cfg *configs.Config, p program, w storeWork, words []string, in io.Reader, out io.Writer) error {
	h := &house{}
	h.log = newLog(configs.Log{Level: "error", Format: "text"}, p.err, newLevel())
	err := ownStore(cfg)
	if err == nil {
		out, _ := waysOutOf(cfg) // mistakes are serve's to tell
		out.keep = true
		err = h.openStore(ctx, cfg, out)
	}
	if isLocked(err) {
		return remotely(ctx, cfg, err, w.name, words, in, out)
	}
	if err != nil {
		return err
	}
	rctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- h.core.Run(rctx) }()
	err = w.do(ctx, h.works(), words, in, out)
	stop()
	return errors.Join(err, <-done, h.db.Close())
}

// ownStore refuses root on the store of another user, unless a server holds it: files that root makes there, a lock or a
// write-ahead log, the server could not open at its next start.
func ownStore(cfg *configs.Config) error {
	st, err := os.Stat(cfg.Data)
	if err != nil || os.Geteuid() != 0 {
		return nil // it is made, or the store says what is wrong
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || sys.Uid == 0 {
		return nil
	}
	if c, err := net.Dial("unix", controlPath(cfg)); err == nil {
		_ = c.Close()
		return &sqlite.LockedError{Dir: cfg.Data} // a server answers: it does the work
	}
	name := fmt.Sprintf("#%d", sys.Uid)
	if u, err := user.LookupId(fmt.Sprint(sys.Uid)); err == nil {
		name = u.Username
	}
	return fmt.Errorf("%s belongs to %s, whose server could not open what root makes there: run this as that user (runuser -u %s -- latchkey …)", cfg.Data, name, name)
}

// remotely asks the server that holds the store.
func remotely(ctx context.Context, cfg *configs.Config, locked error, name string, words []string, in io.Reader, out io.Writer) error {
	path := controlPath(cfg)
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	defer c.CloseIdleConnections()
	if in == nil {
		in = http.NoBody
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://latchkey/"+name, in)
	if err != nil {
		return err
	}
	list, err := json.Marshal(words)
	if err != nil {
		return err
	}
	req.Header.Set(wordsHeader, string(list))
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("%w, and it does not answer at %s: %w", locked, path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server refuses: %s", resp.Status)
	}
	if _, err := io.Copy(out, resp.Body); err != nil {
		return fmt.Errorf("the server broke off: %w", err)
	}
	if failed := resp.Trailer.Get(failTrailer); failed != "" {
		var text string
		if json.Unmarshal([]byte(failed), &text) != nil {
			text = failed
		}
		return errors.New(text)
	}
	return nil
}

func (h *house) listenControl() (net.Listener, error) {
	path := controlPath(h.snapshot().cfg)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // ours: we hold the store
		return nil, err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false) // the name may be another process's by then
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return &trustedPeers{Listener: ln, h: h}, nil
}

// trustedPeers closes connections of others than root and the server's own user.
type trustedPeers struct {
	net.Listener
	h *house
}

func (t *trustedPeers) Accept() (net.Conn, error) {
	for {
		c, err := t.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && (uid == 0 || uid == uint32(os.Getuid())) {
			return c, nil
		}
		t.h.log.Warn("control socket: a peer was refused", "uid", uid, "error", err)
		_ = c.Close()
	}
}

func peerUID(c net.Conn) (uint32, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	cred, err := peerOf(u)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// peerOf is who is at the other end, as the kernel knows it.
func peerOf(u *net.UnixConn) (*unix.Ucred, error) {
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return cred, errors.Join(err, credErr)
}

// serveControl carries out commands until ctx ends, and answers a process that takes over.
func serveControl(ctx context.Context, h *house, ln net.Listener, handOver http.HandlerFunc) error {
	mux := http.NewServeMux()
	for _, w := range storeWorks() {
		mux.HandleFunc("POST /"+w.name, func(rw http.ResponseWriter, r *http.Request) { h.control(rw, r, w) })
	}
	mux.HandleFunc("POST /hand-over", handOver)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: headerWithin, BaseContext: func(net.Listener) context.Context { return ctx }}
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		within, cancel := context.WithTimeout(context.Background(), controlEnd)
		defer cancel()
		_ = s.Shutdown(within) // their context has ended with ctx: the store must not be closed under them
		_ = s.Close()
	})
	err := s.Serve(ln)
	if !stop() {
		<-over
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (h *house) control(rw http.ResponseWriter, r *http.Request, w storeWork) {
	var words []string
	if err := json.Unmarshal([]byte(r.Header.Get(wordsHeader)), &words); err != nil {
		http.Error(rw, "bad words", http.StatusBadRequest)
		return
	}
	_ = http.NewResponseController(rw).EnableFullDuplex() // progress goes out while the file comes in
	rw.Header().Set("Trailer", failTrailer)
	rw.WriteHeader(http.StatusOK)
	err := w.do(r.Context(), h.works(), words, r.Body, flushing{rw})
	if err != nil {
		text, _ := json.Marshal(err.Error()) // a string always marshals
		rw.Header().Set(failTrailer, string(text))
	}
	h.log.Info("a command was carried out", "command", w.name, "failed", err != nil)
}

// flushing sends every word at once, so that progress is seen while it happens.
type flushing struct{ w http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil && n < 4096 {
		err = http.NewResponseController(f.w).Flush()
	}
	return n, err
}
