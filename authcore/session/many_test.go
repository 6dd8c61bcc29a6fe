package session

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"latchkey/authcore/member"
)

func mailSession(i int) Door {
	return Door{ID: NewID(), Domain: "domain", Member: member.ID(fmt.Sprint("m", i)), Credential: "credential", Door: "imap",
		From: "192.0.2.10", Since: time.Now().UTC()}
}

// What one session takes in the registry, its id and address among it, with a member each and all of one member.
func TestSessionIsSmall(t *testing.T) {
	const n, most = 20_000, 490 // under the race detector a pool forgets some of what it is given
	for name, members := range map[string]int{"of many": n, "of one": 1} {
		r := NewDoors(n, time.Now, nil)
		before := heap()
		for i := range n {
			d := mailSession(i % members)
			if _, err := r.Open(d); err != nil {
				t.Fatal(err)
			}
		}
		each := (heap() - before) / n
		t.Logf("%s: %d bytes", name, each)
		if each > most {
			t.Errorf("%s: a session takes %d bytes, at most %d", name, each, most)
		}
		runtime.KeepAlive(r)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// That a session of a member with 5000 of them comes and goes costs what one costs whose member has no other.
func BenchmarkOpenAndEnd(b *testing.B) {
	for _, others := range []int{0, 20, 5000} {
		b.Run(fmt.Sprint("others=", others), func(b *testing.B) {
			r := NewDoors(others+1, time.Now, nil)
			for range others {
				_, _ = r.Open(mailSession(0))
			}
			d := mailSession(0)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Open(d); err != nil {
					b.Fatal(err)
				}
				r.End(d.ID)
			}
		})
	}
}

// A credential may be for longer than nanoseconds can tell, which is till 2262.
func TestSessionKeepsItsTimes(t *testing.T) {
	r := NewDoors(0, time.Now, nil)
	for _, until := range []time.Time{{}, time.Now().Add(time.Hour), time.Date(2263, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)} {
		d := mailSession(0)
		d.Until = until
		if _, err := r.Open(d); err != nil {
			t.Fatal(err)
		}
		got, _ := r.Get(d.ID)
		if !got.Until.Equal(until.Truncate(time.Microsecond)) || !got.Since.Equal(d.Since.Truncate(time.Microsecond)) || SeatOf("p", got) != SeatOf("p", d) {
			t.Errorf("since %v until %v is kept as %v, %v", d.Since, until, got.Since, got.Until)
		}
	}
}
