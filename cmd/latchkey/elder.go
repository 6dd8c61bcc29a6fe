package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"latchkey/authcore/secret"
	"latchkey/configs"
)

// The new process's side of a hand-over.

// elder is the process that is taken over from.
type elder struct {
	conversation
	gone bool          // it died before it could say that it gave the store up
	left []note        // its sessions that live on
	told chan struct{} // closed once it was told that this process serves: nothing else is said before
}

// callElder asks the process that serves for its sockets; nil: none serves.
func callElder(ctx context.Context, cfg *configs.Config) (*elder, error) {
	path := controlPath(cfg)
	c, err := (&net.Dialer{Timeout: sayTime}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, nil // a store that is held all the same says so itself
	}
	u := c.(*net.UnixConn) // that is what "unix" makes
	e := &elder{conversation: conversation{c: u, r: bufio.NewReaderSize(u, maxNote)}, told: make(chan struct{})}
	if err := e.introduce(); err != nil {
		e.close()
		return nil, fmt.Errorf("take over at %s: %w", path, err)
	}
	return e, nil
}

// introduce makes sure that the elder is of the same user, whose files this process will write, and may hand over now.
func (e *elder) introduce() error {
	cred, err := peerOf(e.c)
	if err != nil {
		return err
	}
	if int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("the running server belongs to user %d: run this as that user", cred.Uid)
	}
	r, err := http.NewRequest(http.MethodPost, "http://latchkey/hand-over", nil)
	if err != nil {
		return err
	}
	if err := e.c.SetDeadline(time.Now().Add(askTime)); err != nil {
		return err
	}
	if err := r.Write(e.c); err != nil {
		return err
	}
	resp, err := http.ReadResponse(e.r, r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the running server (pid %d) does not answer", cred.Pid)
	}
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the running server refuses: %s", resp.Status)
	}
	return e.say(note{Say: sayHello})
}

// begin brings the house to where it may accept at the elder's sockets and has the store.
func (e *elder) begin(ctx context.Context, cfg *configs.Config, log io.Writer) (h *house, w shift, err error) {
	handed := passed{}
	socks, err := e.takeOver(cfg, handed)
	if err != nil {
		return nil, w, err
	}
	if h, err = e.buildAfter(ctx, cfg, log); err != nil {
		e.failed(err)
		socks.close()
		return nil, w, err
	}
	h.unused("the process before", handed)
	return h, shift{socks: socks, elder: e}, nil
}

// takeOver brings this process to where it holds the sockets and may open the store. Until then every mistake leaves the
// elder as it is.
func (e *elder) takeOver(cfg *configs.Config, p passed) (socks sockets, err error) {
	defer func() {
		if err != nil {
			e.failed(err)
		}
	}()
	fds, err := e.takePassed()
	if err != nil {
		return nil, fmt.Errorf("take the sockets: %w", err)
	}
	n, err := e.want(sayOffer)
	if err != nil || len(n.Sockets) != len(fds) {
		closeAll(fds)
		return nil, fmt.Errorf("%d sockets for %d listeners: %w", len(fds), len(n.Sockets), err)
	}
	for i, fd := range fds {
		ln, err := listenerOn(fd)
		if err != nil {
			closeAll(fds[i+1:])
			return nil, fmt.Errorf("socket of %s: %w", n.Sockets[i], err)
		}
		p[n.Sockets[i]] = append(p[n.Sockets[i]], ln)
	}
	if err := rehearse(cfg, n.Keys); err != nil {
		return nil, err
	}
	if socks, err = listenWith(cfg, p); err != nil {
		return nil, err
	}
	if err := e.agree(); err != nil {
		socks.close()
		return nil, err
	}
	return socks, nil
}

// agree says that all is ready and waits for the store. An elder that dies now has given it up too: the lock knows.
func (e *elder) agree() error {
	err := e.say(note{Say: sayReady})
	if err == nil {
		err = e.takeSessions()
	}
	for _, end := range []error{io.EOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			e.gone = true
			return nil
		}
	}
	return err
}

// buildAfter is build where an elder may have died this moment: the kernel gives its lock back a little later.
func (e *elder) buildAfter(ctx context.Context, cfg *configs.Config, log io.Writer) (*house, error) {
	for tries := 0; ; tries++ {
		h, err := build(ctx, cfg, log)
		if !e.gone || !isLocked(err) || tries == 40 {
			return h, err
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// serving tells the elder that this process serves. It may have died: then nobody waits for this.
func (e *elder) serving() {
	_ = e.say(note{Say: sayServing})
	close(e.told)
}

// rehearse finds whatever would keep this process from serving, but for the store itself.
func rehearse(cfg *configs.Config, keys []string) error {
	m, _, err := check(cfg.Path())
	if err != nil {
		return err
	}
	if len(m) > 0 {
		return mistakes(m)
	}
	have, err := secret.Load(cfg.Keys)
	if errors.Is(err, fs.ErrNotExist) && len(keys) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("server keys: %w", err)
	}
	return lackKeys(have, keys, cfg.Keys)
}

// failed tells the elder, which takes the store again.
func (e *elder) failed(err error) {
	if e != nil {
		_ = e.say(note{Say: sayFailed, Error: err.Error()}) // or it is gone
		e.close()
	}
}
