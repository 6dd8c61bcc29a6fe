package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"latchkey/authcore"
	"latchkey/authcore/session"
	"latchkey/proxy"
)

// A restart without refusal. A new process asks the old one, over control.sock, for its listening sockets:
//
//	new   POST /hand-over, hello
//	old   offer: the sockets, and what the new one must have to be of use
//	new   ready: configuration, certificates, keys and upstreams are good, new sockets are open; or failed, and why
//	old   stops accepting, finishes sign-ins for 2 s, tells of each session that lives on, gives the store up: released.
//	      The kernel's queue keeps the clients
//	new   opens the store, takes these sessions for its own: they are listed, counted and judged there. Serving, and accepts;
//	      or failed
//	old   closes its copies of the sockets, drains its sessions, and tells of each that ended
//	new   tells which to cut, as they are revoked or expire
//
// Where the store is in Redis it is the node's folder that is given up, with all that this node has noted of it. Whoever dies,
// whenever: the flock of the data folder says who may accept. If the new one dies before it serves, the old one takes the
// store again and serves on; if the old one dies after its offer, the new one gets the store. If either dies later, the
// sessions of the old one end.

// note is one line of that.
type note struct {
	Say string `json:"say"`

	Sockets []string `json:"sockets,omitempty"` // offer: what each descriptor is, in order
	Keys    []string `json:"keys,omitempty"`    // offer: the server keys that records hang on
	Error   string   `json:"error,omitempty"`   // failed

	Open     *proxy.Open        `json:"open,omitempty"` // session
	Standing *authcore.Standing `json:"standing,omitempty"`
	Session  session.ID         `json:"session,omitempty"` // ended, cut
	End      *authcore.End      `json:"end,omitempty"`
	Cause    string             `json:"cause,omitempty"` // cut
}

const (
	sayHello    = "hello"
	sayOffer    = "offer"
	sayReady    = "ready"
	sayReleased = "released"
	sayServing  = "serving"
	sayFailed   = "failed"
	saySession  = "session"
	sayEnded    = "ended"
	sayCut      = "cut"
)

const (
	maxNote  = 64 << 10 // an offer of a hundred sockets is 10 KiB
	sayTime  = 5 * time.Second
	askTime  = 10 * time.Second // for the answer of a process that has only to say yes
	hearTime = 60 * time.Second // to load certificates, look at keys, open a store: seconds at most
	// maxSockets go in one message: SCM_MAX_FD of the kernel is 253.
	maxSockets = 250
)

// conversation is one end of it. One goroutine hears, any may say.
type conversation struct {
	c *net.UnixConn
	r *bufio.Reader

	mu sync.Mutex // of who writes
}

func (v *conversation) say(n note) error {
	line, err := json.Marshal(n)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.c.SetWriteDeadline(time.Now().Add(sayTime)); err != nil {
		return err
	}
	if _, err := v.c.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("say %s: %w", n.Say, err)
	}
	return nil
}

// hear waits for the next note; within 0 for as long as it takes.
func (v *conversation) hear(within time.Duration) (n note, err error) {
	var by time.Time
	if within > 0 {
		by = time.Now().Add(within)
	}
	if err := v.c.SetReadDeadline(by); err != nil {
		return n, err
	}
	line, err := v.r.ReadSlice('\n') // its buffer bounds it
	if err != nil {
		return n, err
	}
	return n, json.Unmarshal(line, &n)
}

// want is hear for one word; failed is an error.
func (v *conversation) want(say string) (note, error) {
	n, err := v.hear(hearTime)
	return n.is(say, err)
}

func (n note) is(say string, err error) (note, error) {
	switch {
	case err != nil:
		return n, fmt.Errorf("wait for %s: %w", say, err)
	case n.Say == sayFailed:
		return n, errors.New(n.Error)
	case n.Say != say:
		return n, fmt.Errorf("got %q, want %s", n.Say, say)
	}
	return n, nil
}

// pass sends the descriptors with one byte, apart from the notes: a buffered reader would lose them.
func (v *conversation) pass(fds []int) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.c.SetWriteDeadline(time.Now().Add(sayTime)); err != nil {
		return err
	}
	_, _, err := v.c.WriteMsgUnix([]byte{'\n'}, unix.UnixRights(fds...), nil)
	return err
}

// takePassed is the other side of pass.
func (v *conversation) takePassed() ([]int, error) {
	if v.r.Buffered() > 0 {
		return nil, errors.New("something came before the sockets")
	}
	if err := v.c.SetReadDeadline(time.Now().Add(hearTime)); err != nil {
		return nil, err
	}
	var one [1]byte
	rights := make([]byte, unix.CmsgSpace(4*maxSockets))
	_, n, flags, _, err := v.c.ReadMsgUnix(one[:], rights)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 || flags&unix.MSG_CTRUNC != 0 {
		return nil, fmt.Errorf("%d messages with sockets, flags %x: %w", len(messages), flags, errors.Join(err))
	}
	return unix.ParseUnixRights(&messages[0])
}

func (v *conversation) close() { _ = v.c.Close() } // the other side may be gone
