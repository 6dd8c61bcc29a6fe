package storetest_test

import (
	"errors"
	"testing"

	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
)

func TestCounting(t *testing.T) {
	c := &storetest.Counting{Records: memory.NewRecords(memory.Options{})}
	if _, err := c.Apply(t.Context(), "p", storetest.Put("a", "x"), storetest.Put("b", "y")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), store.Key{Partition: "p", Name: "absent"}); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	if got, err := c.List(t.Context(), "p", store.Query{}); err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if got, want := c.Take(), (storetest.Counts{Gets: 1, Lists: 1, Applies: 1, Ops: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := c.Take(); got != (storetest.Counts{}) {
		t.Errorf("after Take: got %+v, want nothing", got)
	}
}

func TestFaulty(t *testing.T) {
	records := memory.NewRecords(memory.Options{})
	down := errors.New("down")
	f := &storetest.Faulty{
		Records: records,
		OnApply: func(_ string, ops []store.Op) storetest.Fault {
			if ops[0].Name == "written" {
				return storetest.FailAfter
			}
			return storetest.FailBefore
		},
		OnGet:  func(store.Key) error { return down },
		OnList: func(string, store.Query) error { return down },
	}
	for name, want := range map[string]error{"written": nil, "not written": store.ErrNotFound} {
		if _, err := f.Apply(t.Context(), "p", storetest.Put(name, "x")); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("apply %s: got %v, want ErrUnavailable", name, err)
		}
		if _, err := records.Get(t.Context(), store.Key{Partition: "p", Name: name}); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	_, getErr := f.Get(t.Context(), store.Key{Partition: "p", Name: "written"})
	_, listErr := f.List(t.Context(), "p", store.Query{})
	if !errors.Is(getErr, down) || !errors.Is(listErr, down) {
		t.Errorf("got %v and %v, want both down", getErr, listErr)
	}
}
