package api_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/sqlite"
	"latchkey/policy/api"
)

// exportHeap is what an export may take beside what was there, however long it is.
const exportHeap = 64 << 20

// TestDrillExport exports a million entries out of a file, in every form: each once, in constant memory.
func TestDrillExport(t *testing.T) {
	n := 30_000
	if os.Getenv("LATCHKEY_DRILLS") == "long" {
		n = 1_000_000
	}
	h := open(t, func(o *authcore.Options) {
		db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		o.Records, o.Now = db, nil
	})
	began := time.Now()
	fillMany(t, h, n)
	t.Logf("%d entries written in %v", n, time.Since(began).Round(time.Millisecond))
	defer func() {
		if t.Failed() {
			t.Log(h.log.String())
		}
	}()
	token := h.token(t, "admin")
	for format, rows := range map[string]int{"jsonl": n, "csv": n + 1} {
		before := heap()
		peak, stop := watchHeap(t)
		began := time.Now()
		got, size := h.rows(t, token, format)
		stop()
		grown := int64(peak.Load()) - int64(before)
		t.Logf("%s: %d rows, %d MB in %v; the heap grew by %d MB at most", format, got, size>>20, time.Since(began).Round(time.Millisecond), grown>>20)
		if got != rows {
			t.Errorf("%s: %d rows, want %d", format, got, rows)
		}
		if grown > exportHeap {
			t.Errorf("%s: the heap grew by %d MB", format, grown>>20)
		}
	}
}

// fillMany writes entries a millisecond apart, in batches as large as they may be.
func fillMany(t *testing.T, h *house, n int) {
	t.Helper()
	a, err := h.Session(t.Context(), secret.New(h.token(t, "account")), authtest.Client())
	if err != nil {
		t.Fatal(err)
	}
	first := time.Now().Add(-time.Duration(n) * time.Millisecond)
	for i := 0; i < n; {
		var ops []store.Op
		for ; i < n && len(ops) < store.MaxOps; i++ {
			ops = append(ops, audit.Op(audit.Entry{Time: first.Add(time.Duration(i) * time.Millisecond), Action: audit.SignIn, Reason: "allowed",
				Actor: fmt.Sprintf("filler-%d@old.example", i), Door: "imap", From: "192.0.2.1", Agent: "a program", Kind: "app_password", Credential: "abc"}))
		}
		if _, err := h.Records.Apply(t.Context(), member.Partition(a.Domain), ops...); err != nil {
			t.Fatal(err)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// watchHeap follows the largest heap until stop.
func watchHeap(t *testing.T) (*atomic.Uint64, func()) {
	var peak atomic.Uint64
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return &peak, func() { cancel(); <-done }
}

// rows counts the lines of an export as they come.
func (h *house) rows(t *testing.T, token, format string) (n int, size int64) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), "GET", h.url+api.Prefix+"/domains/old.example/audit?q=filler-&format="+format, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	r := bufio.NewReaderSize(res.Body, 64<<10)
	for {
		line, err := r.ReadSlice('\n')
		size += int64(len(line))
		if bytes.HasSuffix(line, []byte("\n")) {
			n++
		}
		if err == io.EOF {
			return n, size
		}
		if err != nil {
			t.Fatalf("after %d rows: %v", n, err)
		}
	}
}
