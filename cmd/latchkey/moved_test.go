package main

import (
	"os"
	"testing"

	"latchkey/configs"
)

// A node that has served a store in Redis does not go back to what it left behind, until that was given up.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	cfg, err := configs.Load(s.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := noteRedis(cfg, "a-store"); err != nil {
		t.Fatal(err)
	}
	refused(t, []string{"store.engine", "store a-store in Redis", inRedis(cfg), "docs/fleet.md"}, "serve", "-config", s.file)
	refused(t, []string{"a-store"}, "keys", "list", "-config", s.file)
	if err := noteRedis(cfg, "another"); err != nil {
		t.Fatal(err)
	}
	refused(t, []string{"a-store"}, "backup", "-config", s.file)
	if err := os.Remove(inRedis(cfg)); err != nil {
		t.Fatal(err)
	}
	well(t, "keys", "list", "-config", s.file)
}

// A restore into the embedded store is the way back: the note goes with it.
func TestRestoreComesBack(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	file := s.path("backup")
	well(t, "backup", "-config", s.file, "-out", file)
	cfg, err := configs.Load(s.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := noteRedis(cfg, "a-store"); err != nil {
		t.Fatal(err)
	}
	refused(t, []string{"not empty"}, "restore", "-config", s.file, file)
	refused(t, []string{"a-store"}, "keys", "list", "-config", s.file)
	if err := os.Remove(s.database()); err != nil {
		t.Fatal(err)
	}
	well(t, "restore", "-config", s.file, file)
	well(t, "keys", "list", "-config", s.file)
}
