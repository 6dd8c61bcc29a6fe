package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// built is the real program, built once for all tests into a folder that TestMain removes.
var built = sync.OnceValues(func() (string, error) {
	to := filepath.Join(testFolder, "latchkey")
	if out, err := exec.Command(cmp.Or(os.Getenv("GO"), "go"), "build", "-o", to, "latchkey/cmd/latchkey").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return to, nil
})

func buildLatchkey(t *testing.T) string {
	t.Helper()
	to, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// blinkScale is a hundredth of everything.
const blinkScale scale = 0.01

// need skips without the servers that are compared; with CI=true their absence is a failure.
func need(t *testing.T) {
	t.Helper()
	b := bench{}
	b.findPeers()
	if len(b.missing) == 0 {
		return
	}
	why := strings.Join(b.missing, "; ") + " (make deps, as root, installs what is missing)"
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// Every row runs for a blink with every server, has every figure that the report wants, and leaves nothing behind.
func TestPeersRows(t *testing.T) {
	need(t)
	t.Setenv("TMPDIR", t.TempDir())
	var said bytes.Buffer
	o := options{rounds: 1, latchkey: buildLatchkey(t), part: blinkScale}
	before := len(tree([]int{os.Getpid()}))
	r, err := measure(t.Context(), streams{err: &said, out: &said}, o, rows())
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	for _, known := range rows() {
		row := r.row(known.name)
		for _, e := range known.entries {
			got := row.entry(e.who())
			if got.Problem != "" || len(got.Rounds) != 1 || got.Rounds[0].Errors != 0 || got.Rounds[0].Operations == 0 {
				t.Errorf("%s of %s: %+v", known.name, e.who(), got)
				continue
			}
			for _, f := range known.figures {
				ofAll := f.key != "kib_after" || e.server != dovecotName
				if _, ok := got.Rounds[0].Figures[f.key]; !ok && ofAll {
					t.Errorf("%s of %s: no %s in %v", known.name, e.who(), f.key, got.Rounds[0].Figures)
				}
			}
		}
	}
	left, _ := os.ReadDir(os.TempDir())
	if now := len(tree([]int{os.Getpid()})); now != before || len(left) > 0 {
		t.Errorf("%d processes where there were %d; left in the folder: %v", now, before, left)
	}
}

// A server that refuses sign-ins fails its row, is told of, and the others go on.
func TestPeersRefusedSignIns(t *testing.T) {
	need(t)
	t.Setenv("TMPDIR", t.TempDir())
	b, err := newBench(t.Context(), streams{err: io.Discard}, options{rounds: 1, latchkey: buildLatchkey(t), part: blinkScale})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.close() }()
	chosen, err := chooseRows("signin16,noop")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.prepare(t.Context(), chosen); err != nil {
		t.Fatal(err)
	}
	for i := range b.people.logins { // Latchkey alone looks at it
		b.people.logins[i].Password = "wrong"
	}
	for _, row := range chosen {
		got := b.row(t.Context(), row)
		if got.entry(latchkeyName).Problem == "" || got.entry(latchkeyName).figures("cpu_1000") != nil {
			t.Errorf("%s: wrong passwords have figures: %+v", row.name, got.entry(latchkeyName))
		}
		if got.entry(nginxName).Problem != "" || got.entry(dovecotName).Problem != "" {
			t.Errorf("%s: the others failed too: %+v", row.name, got)
		}
	}
}

// A row with a bug fails alone.
func TestPeersPanickingRow(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	o := options{rounds: 2, alone: true, latchkey: buildLatchkey(t), part: blinkScale}
	chosen, err := chooseRows("noop,noop")
	if err != nil {
		t.Fatal(err)
	}
	chosen[0].job = func(scale) job { panic("a bug") }
	r, err := measure(t.Context(), streams{err: io.Discard}, o, chosen)
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Rows[0].Entries[0].Problem; !strings.Contains(p, "a bug") {
		t.Errorf("the first row: %q", p)
	}
	if e := r.Rows[1].Entries[0]; e.Problem != "" || len(e.Rounds) != 2 {
		t.Errorf("the second row: %+v", e)
	}
}

// Ctrl-C in the middle of a row ends everything at once and removes the folder.
func TestPeersInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	o := options{rounds: 1, alone: true, latchkey: buildLatchkey(t), part: 1}
	chosen, err := chooseRows("signin16,signin64")
	if err != nil {
		t.Fatal(err)
	}
	before := len(tree([]int{os.Getpid()}))
	inRow := make(chan struct{})
	first := chosen[0].job
	chosen[0].job = func(s scale) job {
		close(inRow)
		return first(s)
	}
	go func() {
		<-inRow
		time.Sleep(time.Second)
		cancel()
	}()
	began := time.Now()
	r, err := measure(ctx, streams{err: io.Discard}, o, chosen)
	if err == nil || len(r.Rows) != 1 || r.Rows[0].Entries[0].Problem == "" {
		t.Errorf("got %v, %+v", err, r.Rows)
	}
	left, _ := os.ReadDir(os.TempDir())
	if now := len(tree([]int{os.Getpid()})); now != before || len(left) > 0 {
		t.Errorf("after %v: %d processes where there were %d; left in the folder: %v", time.Since(began), now, before, left)
	}
}
