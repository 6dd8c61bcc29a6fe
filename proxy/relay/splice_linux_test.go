package relay

import (
	"testing"

	"golang.org/x/sys/unix"
)

// The end of a pipe keeps its order before a socket that takes nothing, also where it takes several reads.
func TestEndOfAPipeInSeveralReads(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_DIRECT|unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil { // a read answers what one write wrote
		t.Fatal(err)
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := New(Settings{})
	p := &parked{Session: Session{relay: r}, shard: &shard{relay: r, in: make([]byte, readSize)}}
	l := &p.client
	l.p, l.fd = p, int32(ends[0])
	full := 0
	for n := -1; n != 0; full += n {
		if n, err = write(l.fd, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	pipe, want := &pipe{r: fds[0], w: fds[1]}, "the first, and the rest"
	for _, part := range []string{want[:10], want[10:]} {
		n, err := write(int32(pipe.w), []byte(part))
		if pipe.holds += n; err != nil {
			t.Fatal(err)
		}
	}
	if _, err = l.sendPipe(pipe); err != nil {
		t.Fatal(err)
	}
	if pipe.holds > 0 { // as splice does
		l.behind().pipe = pipe
	}
	came := make([]byte, full+len(want))
	if n, err := read(int32(ends[1]), came[:full]); n != full {
		t.Fatalf("%d octets, want %d: %v", n, full, err)
	}
	_, err = l.flush()
	n, readErr := read(int32(ends[1]), came)
	if got := string(came[:n]); got != want || err != nil || readErr != nil {
		t.Errorf("got %q, %v, %v", got, err, readErr)
	}
	l.hangUp()
	_ = unix.Close(ends[1])
	pipe.close()
}
