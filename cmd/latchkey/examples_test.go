package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var example = regexp.MustCompile("(?s)```sh\n(.*?)```(?:\n```text\n(.*?)```)?")

// TestPeersAPIExamples runs what docs/api.md says, with the shell and curl that a reader has, and compares what is printed.
func TestPeersAPIExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	s.serve()
	_, port, err := net.SplitHostPort(s.addr["api"])
	if err != nil {
		t.Fatal(err)
	}
	const end = "-- end of an example --"
	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	var want []string
	for _, m := range example.FindAllStringSubmatch(string(page), -1) {
		script.WriteString(m[1] + "echo '" + end + "'\n")
		want = append(want, m[2])
	}
	c := exec.Command("bash", "-c", script.String())
	c.Dir = t.TempDir()
	c.Env = append(os.Environ(), "API=https://localhost:"+port+"/api/v1", "CURL_CA_BUNDLE="+s.ca, "PASSWORD="+s.people["admin"].Account.Reveal())
	var out, complaints bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaints
	if err := c.Run(); err != nil {
		t.Errorf("the examples end with %v: %s", err, complaints.String())
	}
	got := strings.Split(strings.TrimSuffix(out.String(), end+"\n"), end+"\n")
	if len(want) < 8 || len(got) != len(want) {
		t.Fatalf("%d examples ran of %d:\n%s\n%s", len(got), len(want), out.String(), complaints.String())
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("example %d prints\n%swant\n%s", i+1, got[i], want[i])
		}
	}
}
