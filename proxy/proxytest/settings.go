package proxytest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"latchkey/authcore"
)

// Settings are the SET lines of a script. One that nobody asks for fails it: it would be a typing mistake.
type Settings struct {
	values map[string]string
	asked  map[string]bool
}

func newSettings() *Settings {
	return &Settings{values: make(map[string]string), asked: make(map[string]bool)}
}

// Get answers a setting, or otherwise if the script does not have it.
func (s *Settings) Get(key, otherwise string) string {
	s.asked[key] = true
	if v, ok := s.values[key]; ok {
		return v
	}
	return otherwise
}

// On says whether a setting is "on".
func (s *Settings) On(key string) bool { return s.Get(key, "off") == "on" }

// unasked lists what nobody wanted to know.
func (s *Settings) unasked() []string {
	var left []string
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if !s.asked[key] {
			left = append(left, key)
		}
	}
	return left
}

func (s *Settings) set(rest string) error {
	key, value, _ := strings.Cut(rest, " ")
	if key == "" {
		return fmt.Errorf("SET without a name")
	}
	if _, twice := s.values[key]; twice {
		return fmt.Errorf("SET %s twice", key)
	}
	s.values[key] = strings.TrimSpace(value)
	return nil
}

// conn builds the ConnInfo that the settings describe.
func (s *Settings) conn(t testing.TB) authcore.ConnInfo {
	return authcore.ConnInfo{
		ID:            "conn1",
		Listener:      "test",
		Client:        addrPort(t, s.Get("client", "192.0.2.7:40000")),
		ClientVouched: s.Get("vouched", "on") == "on",
		Local:         addrPort(t, s.Get("local", "192.0.2.1:143")),
		DefaultDomain: s.Get("default_domain", ""),
	}
}

func addrPort(t testing.TB, s string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		t.Fatalf("setting: %v", err)
	}
	return a
}
