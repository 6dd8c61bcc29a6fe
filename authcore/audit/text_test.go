package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// Every field that Entry has is written, as json.Marshal writes it.
func TestTextIsJSON(t *testing.T) {
	whole := Entry{}
	v := reflect.ValueOf(&whole).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(v.Type().Field(i).Name)
		case reflect.Int:
			f.SetInt(7)
		}
	}
	whole.Time, whole.Last = time.Unix(1, 5).UTC(), time.Unix(2, 0).UTC()
	whole.Changes = []Change{{Field: "a", Before: "<b>", After: "c"}, {Field: "d"}}
	for _, e := range []Entry{whole, {}, {Time: time.Unix(7, 0).UTC()}} {
		wantJSON(t, e)
	}
}

func wantJSON(t *testing.T, e Entry) {
	t.Helper()
	want, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.text(); !bytes.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzTextIsJSON(f *testing.F) {
	for _, s := range []string{"", "ann@old.example", "a \"b\" \\ <c> & d", "\x00\x1f\x7f", "é\u2028\u2029", "\xff\xfe"} {
		f.Add(s, int64(1_777_000_000_123_456_789), 3)
	}
	f.Fuzz(func(t *testing.T, s string, at int64, n int) {
		wantJSON(t, Entry{ID: s, Actor: s, Action: Action(s), Agent: s, Name: s, Count: n, Time: time.Unix(0, at).UTC(), Last: time.Unix(at%1e9, 0).UTC()})
	})
}

func TestNameIsOrderedByTime(t *testing.T) {
	for _, ms := range []int64{0, 1, 1_777_885_200_000, 1<<52 - 1} {
		at := time.UnixMilli(ms).UTC()
		want := fmt.Sprintf("%s%s/%013x-%s", Prefix, at.Format(dayForm), ms, "key")
		if got := name(at, "key"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
