package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A full disk: what needs a write is for later, never a wrong password, and all is well once there is room again.
func TestDrillDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	s := bareStage(t)
	small := s.path("small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("latchkey-test", small, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=4m,mode=0700"); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			t.Skip("may not mount a small file system here: ", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(small, unix.MNT_DETACH) })
	s.configure(func(c string) string { return strings.Replace(c, "data: "+s.path("data"), "data: "+small+"/data", 1) })
	s.seed()
	p := s.serve()
	if got := s.signIn("dav", "two-step"); got != good["dav"] {
		t.Errorf("with room: %q", got)
	}
	fill := small + "/fill"
	fillUp(t, fill)
	for range 3 {
		s.wantAll("on a full disk", "app-only", temporary)
		s.wantAll("on a full disk", "account", temporary)
		if got := s.signIn("dav", "two-step"); got != good["dav"] { // it opens nothing, so nothing is written
			t.Errorf("a DAV session from before the disk was full: %q", got)
		}
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	s.wantAll("with room again", "app-only", good)
	s.wantAll("with room again", "account", good)
	p.stop()
}

// fillUp writes until nothing more fits.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			size /= 4
		}
	}
}
