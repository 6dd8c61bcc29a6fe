package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"latchkey/configs"
	"latchkey/policy"
	"latchkey/proxy/proxytest"
)

// greeter is as much of an IMAP server as a probe looks at before a sign-in.
func greeter(c *net.TCPConn) {
	fmt.Fprint(c, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n")
	for lines := bufio.NewScanner(c); lines.Scan(); {
		tag, _, _ := strings.Cut(lines.Text(), " ")
		fmt.Fprintf(c, "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n%s OK done\r\n", tag)
	}
}

// A node that has lost addresses of an upstream is of use: it says which, and since when, and /upstreams why.
func TestReadinessNamesTheAddressesThatAreNotWell(t *testing.T) {
	t.Parallel()
	well, closes := startFault(t, greeter), startFault(t, faults["closes"])
	up := master(t, policy.IMAP, well.ln.Addr().String(), "none")
	up.ProbeUser = ""
	up.Addresses = append(up.Addresses, proxytest.Refusing(t), closes.ln.Addr().String())
	began := time.Now().Truncate(time.Second)
	h := startHouse(t, map[string]configs.Upstream{"mail": up}).h
	for deadline := time.Now().Add(patience); h.snapshot().pool.Health()[0].Probed.IsZero(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody probes")
		}
	}
	detail := wantDegraded(t, h, "upstream addresses")
	_, why := askOps(t, h, "/upstreams")
	for at, problem := range map[string]string{up.Addresses[1]: "connection refused", up.Addresses[2]: "greeting"} {
		_, rest, named := strings.Cut(detail, at+" of upstream mail since ")
		since, err := time.Parse(time.RFC3339, rest[:min(len(rest), len("2006-01-02T15:04:05Z"))])
		if !named || err != nil || since.Before(began) || since.After(time.Now()) {
			t.Errorf("%q does not say since when %s is not well", detail, at)
		}
		if _, rest, _ := strings.Cut(why, at); !strings.Contains(strings.SplitN(rest, "}", 2)[0], problem) {
			t.Errorf("%s does not say %q of %s", why, problem, at)
		}
	}
	if strings.Contains(detail, up.Addresses[0]) || !strings.Contains(detail, "/upstreams says why") {
		t.Errorf("detail %q", detail)
	}
}

// wantDegraded wants one check, and no other, to warn, and answers what it says.
func wantDegraded(t *testing.T, h *house, name string) (detail string) {
	t.Helper()
	var said struct {
		Status string
		Checks []struct {
			Name, Detail string
			OK           bool
		}
	}
	status, body := askOps(t, h, "/readyz")
	if err := json.Unmarshal([]byte(body), &said); err != nil || status != http.StatusOK || said.Status != "degraded" {
		t.Fatalf("%d %s (%v), want 200 and degraded", status, body, err)
	}
	for _, c := range said.Checks {
		if c.OK != (c.Name != name) {
			t.Errorf("check %q: ok is %v", c.Name, c.OK)
		}
		detail += c.Detail
	}
	return detail
}

func askOps(t *testing.T, h *house, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.opsHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}
