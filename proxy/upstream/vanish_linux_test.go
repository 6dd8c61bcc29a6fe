package upstream

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

// namespaceEnv is set in the process that has a network of its own.
const namespaceEnv = "LATCHKEY_NETWORK_OF_ITS_OWN"

// A server that vanishes without a word (its host lost power) is noticed on a warm connection when it does not acknowledge,
// long before the sign-in's time is over, and the sign-in may begin again.
func TestWarmServerVanishes(t *testing.T) {
	if os.Getenv(namespaceEnv) != "" {
		vanish(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	for _, tool := range []string{"unshare", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	if out, err := exec.Command("unshare", "-n", "true").CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %s", out)
	}
	child := exec.Command("unshare", "-n", os.Args[0], "-test.run", "^TestWarmServerVanishes$", "-test.v")
	child.Env = append(os.Environ(), namespaceEnv+"=1")
	out, err := child.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("in a network of its own: %v", err)
	}
}

func vanish(t *testing.T) {
	link := func(state string) {
		if out, err := exec.Command("ip", "link", "set", "lo", state).CombinedOutput(); err != nil {
			t.Fatalf("lo %s: %s", state, out)
		}
	}
	link("up")
	g := newGreeter(t, imapGreeting)
	p := warmPool(t, 1, nil, g.at())
	leg := dialled(t, p, "jane")
	if leg.Again == nil {
		t.Fatal("it is not warm")
	}
	greetedBy(t, leg)
	link("down")
	began := time.Now()
	err := leg.Reply("L1 NOOP\r\n")
	if err == nil {
		_, err = leg.ReadLine(100)
	}
	took := time.Since(began)
	t.Logf("noticed after %v: %v", took, err)
	if !gone(leg, err) || took > 20*time.Second { // of a minute
		t.Errorf("after %v: %v, want that the server has gone, soon", took, err)
	}
	next, again := leg.Again(t.Context(), err)
	if next != nil || again == nil || errors.Is(again, err) {
		t.Errorf("the next leg is %v, error %v; want that it was dialled, in vain", next, again)
	}
}
