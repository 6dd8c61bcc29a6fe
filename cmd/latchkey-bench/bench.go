package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bench owns everything that a run starts and makes.
type bench struct {
	streams
	o           options
	dir         string
	nursery     *nursery
	tools       tools
	machine     machine
	missing     []string
	certificate certificate
	behind      behind
	auth        string // address of nginx's auth service
	authPID     int
	backendsPID int
	servers     map[string]*server
	people      people
}

// tools are the programs that are measured; empty: missing.
type tools struct{ latchkey, nginx, dovecot string }

// A server is one of those that are compared. It may be started and ended many times, always at the same addresses.
type server struct {
	name  string
	at    map[string]string // by service
	start func(*server) (*child, error)
	ready func(context.Context) error
	child *child
}

// descriptors is how many a process may open.
func descriptors() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<20))
}

// newBench finds the programs and makes the folder; nothing is started yet.
func newBench(ctx context.Context, s streams, o options) (b *bench, err error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err == nil {
		l.Cur = l.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l) // set by ourselves, it is handed down to children
	}
	dir, err := os.MkdirTemp("", "latchkey-bench-")
	if err != nil {
		return nil, err
	}
	b = &bench{streams: s, o: o, dir: dir, nursery: newNursery(), servers: map[string]*server{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if err := os.Chmod(dir, 0o711); err != nil { // Dovecot's login processes are somebody else, and go through
		return nil, err
	}
	if b.tools.latchkey, err = b.findLatchkey(ctx); err != nil {
		return nil, err
	}
	if !o.alone {
		b.findPeers()
	}
	b.machine = thisMachine(ctx, b.tools)
	for _, m := range b.missing {
		fmt.Fprintf(s.err, "latchkey-bench: %s; going on without\n", m)
	}
	b.certificate, err = newCertificate(dir)
	return b, err
}

// close ends everything that was started and removes the folder.
func (b *bench) close() error {
	b.nursery.close()
	return os.RemoveAll(b.dir)
}

// findLatchkey: as told, beside us, or built.
func (b *bench) findLatchkey(ctx context.Context) (string, error) {
	if b.o.latchkey != "" {
		return filepath.Abs(b.o.latchkey)
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	beside := filepath.Join(filepath.Dir(self), "latchkey")
	if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
		return beside, nil
	}
	built := filepath.Join(b.dir, "latchkey")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", built, "latchkey/cmd/latchkey").CombinedOutput(); err != nil {
		return "", fmt.Errorf("latchkey is not beside this program, and to build it failed: say -latchkey PATH: %w\n%s", err, out)
	}
	return built, nil
}

// findPeers looks for those who are compared. Programs of servers may be where only root has a path.
func (b *bench) findPeers() {
	find := func(name string) string {
		for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path
			}
		}
		b.missing = append(b.missing, name+" is not installed")
		return ""
	}
	b.tools.dovecot = find("dovecot")
	if b.tools.nginx = find("nginx"); b.tools.nginx == "" {
		return
	}
	loadable := slices.ContainsFunc(nginxModule, func(file string) bool {
		_, err := os.Stat(file)
		return err == nil
	})
	builtIn, _ := exec.Command(b.tools.nginx, "-V").CombinedOutput()
	if !loadable && !strings.Contains(string(builtIn), "--with-mail ") {
		b.tools.nginx = ""
		b.missing = append(b.missing, "nginx has no mail module (Debian: libnginx-mod-mail)")
	}
}

// folder is one of a server's own.
func (b *bench) folder(name string) (string, error) {
	dir := filepath.Join(b.dir, name)
	return dir, os.MkdirAll(dir, 0o711)
}

func (b *bench) log(name string) string { return filepath.Join(b.dir, name+".log") }

// addresses finds a free port of loopback for each service. They are let go again before the server takes them.
func addresses(services []string) (map[string]string, error) {
	at := map[string]string{}
	for _, name := range services {
		ln, err := net.Listen("tcp", loopback+":0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		at[name] = ln.Addr().String()
	}
	return at, nil
}

// prepare starts what all rows need and those servers that the chosen ones do.
func (b *bench) prepare(ctx context.Context, chosen []row) error {
	c, err := b.nursery.ourselves("backends", b.log("backends"))
	if err != nil {
		return err
	}
	b.backendsPID = c.pid()
	if err := c.hear(ctx, &b.behind); err != nil {
		return err
	}
	if c, err = b.nursery.ourselves("authservice", b.log("authservice")); err != nil {
		return err
	}
	b.authPID = c.pid()
	if err := c.hear(ctx, &b.auth); err != nil {
		return err
	}
	if err := b.seed(ctx); err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	return b.peers(ctx, chosen)
}

// peers starts nginx and Dovecot, where they are there and wanted. One that does not start is told and left out.
func (b *bench) peers(ctx context.Context, chosen []row) error {
	wanted := func(name string) bool {
		return slices.ContainsFunc(chosen, func(r row) bool {
			return slices.ContainsFunc(r.entries, func(e entry) bool { return e.server == name })
		})
	}
	for _, p := range []struct {
		name, path string
		services   []string
		start      func(*server) (*child, error)
	}{
		{nginxName, b.tools.nginx, nginxServiceNames(), b.startNginx},
		{dovecotName, b.tools.dovecot, dovecotServiceNames(), b.startDovecot},
	} {
		if p.path == "" || !wanted(p.name) {
			continue
		}
		at, err := addresses(p.services)
		if err != nil {
			return err
		}
		s := &server{name: p.name, at: at, start: p.start, ready: func(ctx context.Context) error { return accepts(ctx, at) }}
		b.servers[p.name] = s
		if err := b.begin(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func nginxServiceNames() (l []string) {
	for _, n := range nginxServices {
		l = append(l, n.name)
	}
	return l
}

func dovecotServiceNames() (l []string) {
	for _, d := range dovecotServices {
		l = append(l, d.name)
	}
	return l
}

// startTime is what a server may take until it accepts.
const startTime = 15 * time.Second

// begin starts a server and waits until it is ready.
func (b *bench) begin(ctx context.Context, s *server) (err error) {
	if s.child, err = s.start(s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- s.ready(ctx) }()
	select {
	case err = <-ready:
	case <-s.child.ended:
		cancel()
		err = errors.Join(errors.New("it has ended"), s.child.err)
		<-ready
	}
	if err != nil {
		s.child.end()
		return fmt.Errorf("start %s: %w\n%s", s.name, err, lastLines(b.log(s.name)))
	}
	return nil
}

// afresh ends a server and starts it again.
func (b *bench) afresh(ctx context.Context, s *server) error {
	s.child.end()
	return b.begin(ctx, s)
}

// accepts waits until every address does.
func accepts(ctx context.Context, at map[string]string) error {
	for name, address := range at {
		for {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err == nil {
				_ = c.Close()
				break
			}
			if !pause(ctx, 20*time.Millisecond) {
				return fmt.Errorf("%s does not accept: %w", name, err)
			}
		}
	}
	return nil
}

// lastLines of a log tell why.
func lastLines(file string) string {
	text, _ := os.ReadFile(file)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}
