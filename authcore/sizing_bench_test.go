package authcore_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
)

// town is a Redis with many members, each a copy of one whom a Core made: with an address, an account password and an app
// password, which is the same for all.
type town struct {
	*stage
	server *redistest.Server
	engine store.Records // below what a stage counts
	word   secret.String // of everybody's app password
	app    string        // its id
	origin person
	people []person
	seen   int                // who signed in last
	bytes  map[string]float64 // of memory that each kind of record takes for a member
}

// person is one of them.
type person struct {
	domain  member.DomainID
	name    string // of the domain
	id      member.ID
	address string
}

const fillers = 4 // batches under way while a town is filled

// newTown makes domains with so many members each.
func newTown(tb testing.TB, domains, members int) *town {
	redistest.Need(tb, "redis-server")
	w := &town{bytes: map[string]float64{}}
	w.server = redistest.Standalone(tb, "appendfsync everysec", "auto-aof-rewrite-percentage 0")
	w.stage = newStage(tb, func(o *authcore.Options) {
		onServer(tb, w.server)(o)
		w.engine = o.Records
	})
	w.model(tb)
	w.found(tb, domains, members)
	w.fill(tb)
	return w
}

// model makes the member whom all others are copies of; he has signed in from authtest.Client.
func (w *town) model(tb testing.TB) {
	address := "model-of-all@" + sample.New
	_, _, err := w.CreateMember(tb.Context(), authtest.Operator(), sample.New, authcore.NewMember{Address: address, Name: "Model of All"})
	must(tb, err)
	item, plain, err := w.CreateAppPasswordFor(tb.Context(), authtest.Operator(), address, apppass.Wish{Name: "Mail on the phone"})
	must(tb, err)
	w.word, w.app = plain, item.ID
	w.signs(tb, address)
	w.origin = person{domain: w.domain(tb, sample.New).ID, name: sample.New, id: w.MemberID(tb, address), address: address}
}

func (w *town) signs(tb testing.TB, address string) {
	d, err := w.Authenticate(tb.Context(), authtest.Attempt("imap", address, w.word.Reveal()))
	if err != nil || !d.Allowed() {
		tb.Fatalf("sign in %s: %q, %v", address, d.Reason, err)
	}
	w.Ended(tb.Context(), d.Session, authcore.End{})
}

// found makes the domains and names their members.
func (w *town) found(tb testing.TB, domains, members int) {
	for i := range domains {
		name := fmt.Sprintf("town-%05d.example", i)
		made, err := w.CreateDomain(tb.Context(), authtest.Operator(), authcore.NewDomain{Name: name,
			CreatedAt: time.Date(2023, 5, 1, 0, 0, 0, 0, time.UTC), Upstreams: map[string]string{"imap": authtest.Upstream}})
		must(tb, err)
		for j := range members {
			w.people = append(w.people, person{domain: made.Domain.ID, name: name, id: member.NewID(), address: fmt.Sprintf("member-%07d@%s", j, name)})
		}
	}
}

// kinds are the records of a member that has signed in once, by the beginning of their names.
var kinds = [...]string{"member/", "address/", "password/", "app-passwords/", "sources/"}

// fill copies the model's records to everybody, kind by kind, so that the server's memory tells what each kind takes.
func (w *town) fill(tb testing.TB) {
	last := w.used(tb)
	for _, kind := range kinds {
		from := w.ofModel(tb, kind)
		w.write(tb, w.people, func(p person) store.Op {
			swap := strings.NewReplacer(string(w.origin.id), string(p.id), w.origin.address, p.address)
			return storetest.Put(swap.Replace(from.Name), swap.Replace(string(from.Value)))
		})
		now := w.used(tb)
		w.bytes[strings.TrimSuffix(kind, "/")] = float64(now-last) / float64(len(w.people))
		last = now
	}
}

// ofModel answers the one record of a kind that is the model's.
func (w *town) ofModel(tb testing.TB, kind string) store.Record {
	l, err := w.engine.List(context.Background(), member.Partition(w.origin.domain), store.Query{Prefix: kind})
	must(tb, err)
	l = slices.DeleteFunc(l, func(r store.Record) bool {
		return !strings.Contains(r.Name, string(w.origin.id)) && !strings.Contains(r.Name, w.origin.address)
	})
	if len(l) != 1 {
		tb.Fatalf("the model has %d records %s…", len(l), kind)
	}
	return l[0]
}

// write writes a record for each of them, in batches as large as may be.
func (w *town) write(tb testing.TB, people []person, op func(person) store.Op) {
	batches := make(chan []person)
	var running sync.WaitGroup
	for range fillers {
		running.Go(func() {
			for batch := range batches {
				ops := make([]store.Op, len(batch))
				for i, p := range batch {
					ops[i] = op(p)
				}
				if _, err := w.engine.Apply(context.Background(), member.Partition(batch[0].domain), ops...); err != nil {
					tb.Error(err)
				}
			}
		})
	}
	for len(people) > 0 {
		n := 1
		for n < len(people) && n < store.MaxOps && people[n].domain == people[0].domain {
			n++
		}
		batches <- people[:n]
		people = people[n:]
	}
	close(batches)
	running.Wait()
}

// used is the memory of the server that holds data and keys.
func (w *town) used(tb testing.TB) int64 {
	info, err := w.server.Info("memory")
	must(tb, err)
	number := func(name string) int64 {
		n, err := strconv.ParseInt(info[name], 10, 64)
		must(tb, err)
		return n
	}
	return number("used_memory") - number("mem_clients_normal") - number("mem_aof_buffer")
}

// leavings measures what use leaves for each of some members: an audit entry, a live session, a failure that is counted.
func (w *town) leavings(tb testing.TB) {
	some := make([]person, 0, sampled)
	for i := range min(sampled, len(w.people)) {
		some = append(some, w.people[i*len(w.people)/min(sampled, len(w.people))])
	}
	now, phone := time.Now(), "Thunderbird/140.4.0"
	measure := func(what string, leave func()) {
		before := w.used(tb)
		leave()
		w.bytes[what] = float64(w.used(tb)-before) / float64(len(some))
	}
	measure("audit", func() {
		w.write(tb, some, func(p person) store.Op {
			return audit.Op(audit.Entry{Time: now, Action: audit.SignIn, Reason: "allowed", Actor: p.address, Target: p.address, MemberID: string(p.id),
				Door: "imap", From: here, Agent: phone, Kind: "app_password", Credential: w.app, Name: "Mail on the phone", Session: string(session.NewID())})
		})
	})
	measure("session", func() {
		w.parallel(some, func(_ int, p person) {
			seat := session.SeatOf("0123456789abcdef/ABCDEFGHIJ", session.Door{ID: session.NewID(), Domain: p.domain, Member: p.id, Door: "imap",
				Credential: w.app, CredentialName: "Mail on the phone", From: here, Agent: phone, Since: now})
			_, err := w.options.Ephemeral.Add(context.Background(), session.SeatsKey(p.domain, p.id, "imap"), seat, session.SeatFor)
			must(tb, err)
		})
	})
	throttle := &lockout.Throttle{Ephemeral: w.options.Ephemeral, Hold: time.Second}
	measure("throttle", func() {
		w.parallel(some, func(i int, p person) {
			must(tb, throttle.Failed(context.Background(), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), p.domain, print43, print43))
		})
	})
}

const (
	sampled = 10_000                                        // members of whom what grows with use is measured
	print43 = "0123456789012345678901234567890123456789012" // as long as a fingerprint is
)

func (w *town) parallel(people []person, f func(i int, p person)) {
	var running sync.WaitGroup
	for n := range 16 {
		running.Go(func() {
			for i := n; i < len(people); i += 16 {
				f(i, people[i])
			}
		})
	}
	running.Wait()
}

// BenchmarkSizing measures what members cost: memory in Redis, a page of the list, a sign-in. LATCHKEY_SIZES names
// other sizes, "10000x100" as 10 000 domains of 100 members; a million members take 4 GB and some minutes.
func BenchmarkSizing(b *testing.B) {
	sizes := cmp.Or(os.Getenv("LATCHKEY_SIZES"), "1x1000,1x10000")
	for _, size := range strings.Split(sizes, ",") {
		var domains, members int
		if _, err := fmt.Sscanf(size, "%dx%d", &domains, &members); err != nil || domains < 1 || members < 1 {
			b.Fatalf("LATCHKEY_SIZES: %q is not like 10x100", size)
		}
		b.Run(size, func(b *testing.B) {
			w := newTown(b, domains, members)
			b.Run("memory", w.reportMemory)
			for _, at := range []string{"beginning", "middle", "end"} {
				b.Run("list/"+at, func(b *testing.B) { w.list(b, at) })
			}
			for _, fsync := range []string{"everysec", "always"} {
				w.server.Must(b, "CONFIG", "SET", "appendfsync", fsync)
				b.Run("sign-in/warm/"+fsync, func(b *testing.B) { w.signIn(b, func(int) person { return w.people[0] }) })
				b.Run("sign-in/cold/"+fsync, func(b *testing.B) { w.signIn(b, w.stranger) })
			}
		})
	}
}

func (w *town) reportMemory(b *testing.B) {
	if len(w.bytes) == len(kinds) { // once, however often it is called
		w.leavings(b)
	}
	for kind, n := range w.bytes {
		b.ReportMetric(n, kind+"-B")
	}
	b.ReportMetric(0, "ns/op")
}

const pageOf = 50 // members on a page

// list asks for a page of the domain in the middle.
func (w *town) list(b *testing.B, at string) {
	d := w.people[len(w.people)/2].name
	var of []person
	for _, p := range w.people {
		if p.name == d {
			of = append(of, p)
		}
	}
	after := map[string]string{"middle": of[len(of)/2].address, "end": of[max(0, len(of)-pageOf-1)].address}[at]
	percentiles(b, func(int) {
		l, _, err := w.Members(b.Context(), authtest.Operator(), d, "", after, pageOf)
		if err != nil || len(l) != pageOf && at != "middle" {
			b.Fatalf("%d members, %v", len(l), err)
		}
	})
}

// stranger is a member whom the node has not seen yet, as long as there is one.
func (w *town) stranger(int) person {
	w.seen = (w.seen + 7919) % len(w.people)
	return w.people[w.seen]
}

func (w *town) signIn(b *testing.B, who func(int) person) {
	w.signs(b, w.people[0].address)
	percentiles(b, func(i int) { w.signs(b, who(i).address) })
}

// percentiles reports how long calls take, one after the other.
func percentiles(b *testing.B, call func(i int)) {
	var took []time.Duration
	for b.Loop() {
		before := time.Now()
		call(len(took))
		took = append(took, time.Since(before))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e6, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
}
