package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// soakTime is how long a soak goes on: LATCHKEY_SOAK says, as `make soak` sets it.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	v := os.Getenv("LATCHKEY_SOAK")
	if v == "" {
		return 10 * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Hours of sign-ins at every door, right and wrong ones, leave nothing behind: no descriptor, and no memory that grows.
func TestSoakSignIns(t *testing.T) {
	d := startDemo(t)
	name, password := d.app(t, "app-only")
	total := soakTime(t)
	d.soak(t, total/4, name, password) // what a first while takes is not growth: caches, pools, the store's pages
	d.settlesAt(descriptors(t, d.process))
	files, memory := descriptors(t, d.process), pss(t, d.process)
	n := d.soak(t, total-total/4, name, password)
	d.settlesAt(files + 4) // probes of the upstreams come and go
	grown := pss(t, d.process)
	t.Logf("%d sign-ins in %v; PSS %d KiB after a quarter, %d KiB at the end", n, total, memory, grown)
	if limit := memory + memory/4 + 8<<10; grown > limit {
		t.Errorf("memory grew from %d to %d KiB, want %d at most", memory, grown, limit)
	}
	d.stop()
}

// soak signs in at every door for a while; one in ten passwords is wrong.
func (d *runningDemo) soak(t *testing.T, long time.Duration, name, password string) int64 {
	t.Helper()
	var n atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(long)
	for _, at := range d.doors() {
		all.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				if err := d.oneSignIn(at, name, password, i%10 == 9); err != nil {
					t.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	return n.Load()
}

func (d *runningDemo) oneSignIn(at door, name, password string, mistyped bool) error {
	want := good[at.protocol]
	if mistyped {
		password, want = "mistyped", wrong[at.protocol]
	}
	answer, err := at.signIn(d.tls, name, password)
	if err == nil && !strings.HasPrefix(answer, want) {
		err = fmt.Errorf("%s answers %q, want %q", at.protocol, answer, want)
	}
	return err
}

var pssLine = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB$`)

// pss is the proportional set size of a process in KiB.
func pss(t *testing.T, p *process) int {
	t.Helper()
	b, err := os.ReadFile("/proc/" + itoa(p.cmd.Process.Pid) + "/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	m := pssLine.FindSubmatch(b)
	if m == nil {
		t.Fatalf("no Pss in %s", b)
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
