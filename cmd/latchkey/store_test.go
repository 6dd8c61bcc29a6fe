package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"latchkey/configs"
)

// The commands that look after the store, each beside a running server and without one.

func onAndOff(t *testing.T, test func(t *testing.T, s *stage)) {
	for _, running := range []bool{false, true} {
		t.Run(map[bool]string{false: "offline", true: "beside a server"}[running], func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			if running {
				s.serve()
			}
			test(t, s)
		})
	}
}

var temporaryPassword = regexp.MustCompile(`(?m)[: \t]([a-z2-9]{5}-[a-z2-9]{5}-[a-z2-9]{5}-[a-z2-9]{5})$`)

func TestOperatorCommand(t *testing.T) {
	t.Parallel()
	onAndOff(t, func(t *testing.T, s *stage) {
		c := well(t, "operator", "create", "-config", s.file, "ops@fresh.example")
		if !temporaryPassword.MatchString(strings.TrimSpace(c.out)) || !strings.Contains(c.out, "ops@fresh.example is an operator now") {
			t.Errorf("create says %q", c.out)
		}
		if c := well(t, "operator", "create", "-config", s.file, "admin@old.example"); temporaryPassword.MatchString(c.out) {
			t.Errorf("somebody who was there got a new password: %q", c.out)
		}
		if c := well(t, "operator", "reset", "-config", s.file, "ops@fresh.example"); !temporaryPassword.MatchString(strings.TrimSpace(c.out)) {
			t.Errorf("reset says %q", c.out)
		}
		refused(t, []string{"no such domain or member"}, "operator", "reset", "-config", s.file, "nobody@fresh.example")
		refused(t, []string{"break-glass is for operators and administrators"}, "operator", "reset", "-config", s.file, "account@old.example")
		refused(t, []string{"address"}, "operator", "create", "-config", s.file, "not an address")
	})
}

const csvMembers = "\ufeffaddress,name,aliases,role,email\r\n" +
	"ann@old.example,Ann,ann.a@old.example a@old.example,,ann@home.example\r\n" +
	"not an address,Bad,,,\r\n" +
	"bob@old.example,Bob\r\n" +
	"cid@elsewhere.example,Cid,,,\r\n" +
	"dora@old.example,\"Dora, the last\",,administrator,\r\n"

const jsonMembers = `{"address":"eve@old.example","name":"Eve"}

{"address":"fay@old.example","unknown":1}
{"address":"gus@old.example"} {"address":"hal@old.example"}
not json
{"address":"ida@old.example","aliases":["i@old.example"]}
`

func TestImportCommand(t *testing.T) {
	t.Parallel()
	onAndOff(t, func(t *testing.T, s *stage) {
		csv, jsonl := s.write("members.csv", csvMembers, 0o600), s.write("members.jsonl", jsonMembers, 0o600)
		c := call(t, "import", "-config", s.file, "-domain", "old.example", csv)
		if c.code != exitFailed || strings.Count(c.out, "\n") != 2 || !strings.HasPrefix(c.out, "ann@old.example\t") || !strings.Contains(c.out, "\ndora@old.example\t") {
			t.Errorf("exit %d, passwords of\n%s%s", c.code, c.out, c.err)
		}
		for _, want := range []string{"line 3: not an address", "line 4:", "line 5: cid@elsewhere.example", "2 made, 0 there already, 3 not imported", "3 lines could not be imported"} {
			if !strings.Contains(c.err, want) {
				t.Errorf("does not say %q:\n%s", want, c.err)
			}
		}
		c = call(t, "import", "-config", s.file, "-domain", "old.example", csv)
		if c.out != "" || !strings.Contains(c.err, "line 2: ann@old.example: the address is somebody's already") || !strings.Contains(c.err, "0 made, 2 there already, 3 not imported") {
			t.Errorf("the second time:\n%s%s", c.out, c.err)
		}
		out := s.path("passwords")
		c = call(t, "import", "-config", s.file, "-domain", "old.example", "-out", out, jsonl)
		for _, want := range []string{"line 3:", "line 4:", "line 5:", "2 made, 0 there already, 3 not imported"} {
			if !strings.Contains(c.err, want) {
				t.Errorf("JSON lines: does not say %q:\n%s", want, c.err)
			}
		}
		made, err := os.ReadFile(out)
		info, statErr := os.Stat(out)
		if err != nil || statErr != nil || info.Mode() != 0o600 || bytes.Count(made, []byte("\n")) != 2 || c.out != "" {
			t.Errorf("passwords in the file: %q (%v), mode %v (%v); on standard output: %q", made, err, info.Mode(), statErr, c.out)
		}
		refused(t, []string{"exists"}, "import", "-config", s.file, "-domain", "old.example", "-out", out, jsonl)
		refused(t, []string{"there is no domain none.example"}, "import", "-config", s.file, "-domain", "none.example", jsonl)
		c = callWith(t, "address,phone\n", "import", "-config", s.file, "-domain", "old.example", "-format", "csv", "-")
		if c.code != exitFailed || !strings.Contains(c.err, `column "phone" is not known`) {
			t.Errorf("an unknown column: exit %d\n%s", c.code, c.err)
		}
	})
}

const passwdMembers = `# Dovecot
joe:{BLF-CRYPT}$2y$05$YFUV4lFloT4SCaYnUnu2JOlJV4HNl3CEH7iFBeFW8rER1Wvqs/y/6:1000:1000:Joe Doe,Room 7:/home/joe::
kim@old.example:{PBKDF2}$1$Yq0WJcRYSHiWi.Gv$5000$e60a66bb6c8b593678728d85c6defd04b6c99581

lou:{PLAIN}secret::::::
max:
nan:!$6$x$y
oli:{SHA512-CRYPT}$6$rounds=999999999$salt$` + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" + `
pat:{CRYPT}$2y$05$YFUV4lFloT4SCaYnUnu2JOlJV4HNl3CEH7iFBeFW8rER1Wvqs/y/6:::::: userdb_x=y nologin=y
joe:{CRYPT}$2y$05$YFUV4lFloT4SCaYnUnu2JOlJV4HNl3CEH7iFBeFW8rER1Wvqs/y/6
`

// Members of a passwd-file keep their passwords; a dry run says all of it and makes nobody.
func TestImportPasswdFile(t *testing.T) {
	t.Parallel()
	onAndOff(t, func(t *testing.T, s *stage) {
		file := s.write("members", passwdMembers, 0o600)
		wrong := []string{"line 5: lou@old.example", "line 6: max@old.example", "line 7: nan@old.example", "line 8: oli@old.example", "rounds", "line 9: pat@old.example", "nologin"}
		for range 2 {
			c := call(t, "import", "-config", s.file, "-domain", "old.example", "-format", "passwd", "-dry-run", file)
			for _, want := range append(wrong, "line 10: joe@old.example joe@old.example: line 2 has this address already", "2 would be made, 0 there already, 6 not imported") {
				if c.code != exitFailed || c.out != "" || !strings.Contains(c.err, want) {
					t.Errorf("dry: exit %d, %q, does not say %q:\n%s", c.code, c.out, want, c.err)
				}
			}
		}
		c := call(t, "import", "-config", s.file, "-domain", "old.example", "-format", "passwd", file)
		for _, want := range append(wrong, "line 10: joe@old.example: the address is somebody's already", "2 made, 1 there already, 5 not imported") {
			if c.code != exitFailed || c.out != "" || !strings.Contains(c.err, want) || strings.Contains(c.err, "secret") {
				t.Errorf("exit %d, %q, does not say %q:\n%s", c.code, c.out, want, c.err)
			}
		}
	})
}

// The password of an import lets its member in at a door, and the import of many is quick.
func TestImportedPasswordsLetIn(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var b strings.Builder
	b.WriteString("joe:{BLF-CRYPT}$2y$05$YFUV4lFloT4SCaYnUnu2JOlJV4HNl3CEH7iFBeFW8rER1Wvqs/y/6\n")
	for i := range 500 {
		fmt.Fprintf(&b, "many%d:{BLF-CRYPT}$2y$14$YFUV4lFloT4SCaYnUnu2JOlJV4HNl3CEH7iFBeFW8rER1Wvqs/y/6\n", i)
	}
	c := callWith(t, b.String(), "import", "-config", s.file, "-domain", "old.example", "-format", "passwd", "-")
	if c.code != 0 || !strings.Contains(c.err, "501 made") {
		t.Fatalf("exit %d\n%s", c.code, c.err)
	}
	s.serve()
	for password, want := range map[string]string{"correct horse 1": "UNAVAILABLE", "wrong": "AUTHENTICATIONFAILED"} { // the server behind does not know him
		if got, err := s.door("imap").signIn(s.tls, "joe@old.example", password); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %q, %v", password, got, err)
		}
	}
}

// An import that cannot begin leaves no empty file behind that keeps the next one from beginning.
func TestImportLeavesNoEmptyFile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	in, out := s.write("members.jsonl", jsonMembers, 0o600), s.path("passwords")
	refused(t, []string{"there is no domain"}, "import", "-config", s.file, "-domain", "none.example", "-out", out, in)
	if _, err := os.Stat(out); err == nil {
		t.Errorf("%s was left behind", out)
	}
}

// What was backed up beside a running server is, after a restore elsewhere, a server that takes the same app passwords.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	p := s.serve()
	file := s.path("backup")
	c := well(t, "backup", "-config", s.file, "-out", file)
	if !regexp.MustCompile(`: [1-9]\d* records, `).MatchString(c.err) || !strings.Contains(c.err, "verified") {
		t.Errorf("backup says %q", c.err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("the backup has mode %v (%v)", info.Mode(), err)
	}
	refused(t, []string{"exists"}, "backup", "-config", s.file, "-out", file)
	if c := well(t, "backup", "-config", s.file); len(c.out) < 100 {
		t.Errorf("on standard output: %d bytes", len(c.out))
	}
	p.stop()

	refused(t, []string{"not empty"}, "restore", "-config", s.file, file)
	s.elsewhere()
	refused(t, []string{"server keys", s.path("keys.json")}, "restore", "-config", s.file, file)
	s.keysBack()
	if c := well(t, "restore", "-config", s.file, file); !regexp.MustCompile(`^Restored [1-9]\d* records\.`).MatchString(c.out) {
		t.Errorf("restore says %q", c.out)
	}
	s.serve()
	s.wantAll("after a restore", "app-only", good)
	s.wantAll("after a restore", "account", good)
}

// elsewhere moves data and keys away, as on another machine.
func (s *stage) elsewhere() {
	s.t.Helper()
	for _, name := range []string{"data", "keys.json", "keys.json.store"} {
		if err := os.Rename(s.path(name), s.path("old-"+name)); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *stage) keysBack() {
	s.t.Helper()
	keys, err := os.ReadFile(s.path("old-keys.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("keys.json", string(keys), 0o600)
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	file := s.path("backup")
	well(t, "backup", "-config", s.file, "-out", file)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.elsewhere()
	t.Run("keys of another store", func(t *testing.T) {
		other := newStage(t)
		keys, err := os.ReadFile(other.path("keys.json"))
		if err != nil {
			t.Fatal(err)
		}
		s.write("keys.json", string(keys), 0o600)
		refused(t, []string{"lacks m", s.path("keys.json")}, "restore", "-config", s.file, file)
	})
	s.keysBack()
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]struct{ content, says string }{
		"cut off":      {string(whole[:len(whole)-20]), "damaged"},
		"a bit":        {string(flipped), "damaged"},
		"another file": {"address,name\n", "not a backup"},
		"an empty one": {"", "not a backup"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, []string{c.says}, "restore", "-config", s.file, s.write("bad", c.content, 0o600))
		})
	}
	if _, err := os.Stat(s.path("data")); err == nil {
		t.Error("a refused backup has made a store")
	}
	well(t, "restore", "-config", s.file, file)
}

// A restore takes the place of a store that is lost, and never makes the marker of one lie.
func TestRestoreAfterLoss(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	file := s.path("backup")
	well(t, "backup", "-config", s.file, "-out", file)
	mine := s.database()
	kept := s.path("kept.db")
	if err := os.Rename(mine, kept); err != nil {
		t.Fatal(err)
	}
	refused(t, []string{"keys.json.store", "restore -config " + s.file}, "serve", "-config", s.file)

	other := newStage(t)
	foreign, err := os.ReadFile(other.database())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine, foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	marker, err := os.ReadFile(s.path("keys.json.store"))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, nil, "serve", "-config", s.file)
	refused(t, nil, "restore", "-config", s.file, file)
	if now, err := os.ReadFile(s.path("keys.json.store")); err != nil || string(now) != string(marker) {
		t.Errorf("a restore that was refused has changed the marker: %q (%v), was %q", now, err, marker)
	}
	refused(t, nil, "serve", "-config", s.file)

	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
	c := well(t, "restore", "-config", s.file, file)
	if !strings.Contains(c.err, "is lost: a new one takes its place") {
		t.Errorf("restore says %q", c.err)
	}
	s.serve()
	s.wantAll("restored after a loss", "app-only", good)
}

// database is the file of the store.
func (s *stage) database() string {
	s.t.Helper()
	l, err := filepath.Glob(s.path("data/*.db"))
	if err != nil || len(l) != 1 {
		s.t.Fatalf("databases: %q %v", l, err)
	}
	return l[0]
}

func TestKeysCommand(t *testing.T) {
	t.Parallel()
	onAndOff(t, func(t *testing.T, s *stage) {
		c := well(t, "keys", "list", "-config", s.file)
		if !regexp.MustCompile(`(?m)^m\w+ +mac .* current +3 of app-passwords$`).MatchString(c.out) || !regexp.MustCompile(`(?m)^s\w+ +sign .* current +-$`).MatchString(c.out) {
			t.Errorf("list says\n%s", c.out)
		}
		well(t, "keys", "export", "-config", s.file, "-dovecot", s.path("dovecot"))
		l, err := filepath.Glob(s.path("dovecot/default/ES256/s*"))
		if err != nil || len(l) != 1 {
			t.Fatalf("exported %q (%v)", l, err)
		}
		if pem, err := os.ReadFile(l[0]); err != nil || !strings.HasPrefix(string(pem), "-----BEGIN PUBLIC KEY-----") {
			t.Errorf("exported %q (%v)", pem, err)
		}
	})
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	t.Run("keys that others may read", func(t *testing.T) {
		if err := os.Chmod(s.path("keys.json"), 0o644); err != nil {
			t.Fatal(err)
		}
		refused(t, []string{"chmod 600"}, "serve", "-config", s.file)
		if err := os.Chmod(s.path("keys.json"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("keys that are gone", func(t *testing.T) {
		if err := os.Rename(s.path("keys.json"), s.path("away")); err != nil {
			t.Fatal(err)
		}
		refused(t, []string{s.path("keys.json"), "is gone", "made with m", "bring the file back"}, "serve", "-config", s.file)
		if err := os.Rename(s.path("away"), s.path("keys.json")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("words behind it", func(t *testing.T) {
		for _, name := range []string{"serve", "check", "doctor"} {
			if c := call(t, name, "-config", s.file, "now"); c.code != exitUsage || !strings.Contains(c.err, `"now"`) {
				t.Errorf("%s: exit %d, says\n%s", name, c.code, c.err)
			}
		}
	})
	t.Run("a second server", func(t *testing.T) {
		p := s.serve()
		refused(t, []string{itoa(p.cmd.Process.Pid)}, "serve", "-config", s.file)
		s.wantAll("beside a second server", "app-only", good)
		p.stop()
	})
}

// Two servers whose data folders have long paths are each asked by their own commands.
func TestControlSocketOfLongPaths(t *testing.T) {
	t.Parallel()
	env := []string{"RUNTIME_DIRECTORY=" + t.TempDir()}
	var stages [2]*stage
	for i := range stages {
		s := bareStage(t)
		long := s.path(strings.Repeat("long", 30))
		s.configure(func(c string) string { return strings.Replace(c, "data: "+s.path("data"), "data: "+long, 1) })
		p := start{args: []string{"serve", "-config", s.file}, sockets: s.sockets, env: env}.begin(t)
		p.says("latchkey serves")
		stages[i] = s
	}
	for i, s := range stages {
		p := start{args: []string{"operator", "create", "-config", s.file, "ops@" + string(rune('a'+i)) + ".example"}, env: env}.begin(t)
		if code := p.ends(); code != 0 {
			t.Errorf("exit %d: %s", code, p.err)
		}
	}
	for i, s := range stages {
		other := "ops@" + string(rune('a'+1-i)) + ".example"
		p := start{args: []string{"operator", "reset", "-config", s.file, other}, env: env}.begin(t)
		if code := p.ends(); code != exitFailed {
			t.Errorf("the server knows %s of the other one: exit %d", other, code)
		}
	}
}

func TestControlSocketIsForRootAndOneself(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.serve()
	cfg, err := configs.Load(s.file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(controlPath(cfg))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v (%v), want 0600", info.Mode(), err)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to come as another user")
	}
	// The folder is closed to others; somebody who was let in all the same is told nothing.
	for _, dir := range []string{s.dir, filepath.Dir(s.dir), s.path("data")} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(controlPath(cfg), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		uid  int
		want string
	}{"root": {0, "200"}, "nobody": {65534, ""}} {
		t.Run(name, func(t *testing.T) {
			if got := askAs(t, c.uid, controlPath(cfg)); got != c.want {
				t.Errorf("status %q, want %q", got, c.want)
			}
		})
	}
}

// askAs asks the control socket for the list of keys as another user and answers the status, empty if there is none.
func askAs(t *testing.T, uid int, path string) string {
	t.Helper()
	c, err := dialAs(uid, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	answer := ""
	if _, err := c.Write([]byte("POST /keys HTTP/1.0\r\nHost: latchkey\r\n" + wordsHeader + `: ["list"]` + "\r\n\r\n")); err == nil {
		p, _ := io.ReadAll(c) // a peer that is refused may be reset
		answer = string(p)
	}
	_, rest, _ := strings.Cut(answer, " ")
	status, _, _ := strings.Cut(rest, " ")
	return status
}

// dialAs connects under another effective user. Its thread takes back its own and lives on: with a thread die the processes
// that were started on it.
func dialAs(uid int, path string) (net.Conn, error) {
	type dialled struct {
		c   net.Conn
		err error
	}
	done, own := make(chan dialled), os.Geteuid()
	go func() {
		runtime.LockOSThread()
		var d dialled
		if d.err = effectively(uid); d.err == nil {
			d.c, d.err = net.Dial("unix", path)
		}
		if err := effectively(own); err != nil {
			d.err = errors.Join(d.err, err) // locked still: the thread must not be used again
		} else {
			runtime.UnlockOSThread()
		}
		done <- d
	}()
	d := <-done
	return d.c, d.err
}

// effectively sets the effective user of the thread alone.
func effectively(uid int) error {
	if _, _, no := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); no != 0 {
		return no
	}
	return nil
}

// Root who works on the store of a server that is down must not leave files behind that the server's user cannot open.
func TestCommandsOfRootKeepTheOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root to give files to another user")
	}
	s := newStage(t)
	const nobody = 65534
	backup := s.path("backup")
	well(t, "backup", "-config", s.file, "-out", backup)
	if err := os.Chown(s.path("data"), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"keys", "list"}, {"operator", "create", "ops@fresh.example"}, {"backup"}, {"restore", backup}} {
		refused(t, []string{"belongs to", "runuser -u"}, append(args, "-config", s.file)...)
	}
	if err := os.Chown(s.path("data"), 0, 0); err != nil {
		t.Fatal(err)
	}
	well(t, "keys", "list", "-config", s.file)
}
