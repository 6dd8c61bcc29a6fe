package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"

	"latchkey/configs"
)

// hostWith is a host with these files, beside what a usual one has.
func hostWith(files map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for file, text := range map[string]string{
		"proc/self/limits": "Limit                     Soft Limit           Hard Limit           Units     \n" +
			"Max processes             96364                96364                processes \n" +
			"Max open files            262144               524288               files     \n",
		"proc/sys/fs/nr_open":                       "1048576\n",
		"proc/sys/fs/file-max":                      "9223372036854775807\n",
		"proc/sys/net/ipv4/ip_local_port_range":     "32768\t60999\n",
		"proc/sys/net/core/somaxconn":               "4096\n",
		"proc/sys/net/ipv4/tcp_max_syn_backlog":     "2048\n",
		"proc/sys/net/ipv4/tcp_mem":                 "287898\t383866\t575796\n",
		"proc/sys/net/netfilter/nf_conntrack_max":   "",
		"proc/sys/net/netfilter/nf_conntrack_count": "",
	} {
		if with, ok := files[file]; ok {
			text = with
		}
		if text != "" {
			root[file] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return root
}

func openFiles(soft, hard string) map[string]string {
	return map[string]string{"proc/self/limits": "Max open files            " + soft + "               " + hard + "               files     \n"}
}

func TestHostLimits(t *testing.T) {
	one := map[string]configs.Upstream{"mail": {Protocol: "imap", Addresses: []string{"10.0.0.1:143"}}}
	for name, c := range map[string]struct {
		files       map[string]string
		connections int
		upstreams   map[string]configs.Upstream
		want        []string // words of the findings, in order; none: nothing is said
	}{
		"nothing promised":                {upstreams: one},
		"enough of all":                   {connections: 20000, upstreams: one},
		"nothing can be read":             {files: map[string]string{"proc/self/limits": "", "proc/sys/net/ipv4/tcp_mem": "", "proc/sys/fs/nr_open": "", "proc/sys/net/ipv4/ip_local_port_range": ""}, connections: 30000, upstreams: one},
		"the usual 1024":                  {files: openFiles("1024", "524288"), want: []string{"may open 1024 files, room for 384 connections|LimitNOFILE"}},
		"unlimited":                       {files: openFiles("unlimited", "unlimited"), connections: 20000},
		"fewer descriptors than promised": {connections: 200000, want: []string{"is 200000, for which 400256 descriptors are needed: the process may open 262144|set LimitNOFILE=400256 in its unit (ulimit -n), or limits.connections to 130944", "4096 connections may wait until they are accepted", "2048 connections may wait until they have shaken hands", "TCP may hold 383866 pages"}},
		"the kernel's bounds": {files: map[string]string{"proc/self/limits": "Max open files unlimited unlimited files", "proc/sys/fs/nr_open": "65536", "proc/sys/fs/file-max": "120000"}, connections: 60000,
			want: []string{"no process may have more than 65536 (fs.nr_open)|fs.nr_open=131072", "the whole host may have 120000 (fs.file-max)|fs.file-max=262144"}},
		"ports": {connections: 50000, upstreams: one,
			want: []string{"toward 10.0.0.1:143 of upstream mail there are 28232 ports (net.ipv4.ip_local_port_range 32768 to 60999, from 1 of our addresses), and up to 50000|name 2 source_addresses"}},
		"ports of two sources": {connections: 50000, upstreams: map[string]configs.Upstream{
			"mail": {Protocol: "imap", Addresses: []string{"10.0.0.1:143"}, SourceAddresses: []string{"10.0.0.5", "10.0.0.6"}}}},
		"a source of another family does not count": {connections: 50000, upstreams: map[string]configs.Upstream{
			"mail": {Protocol: "imap", Addresses: []string{"10.0.0.1:143", "mail.example:143"}, SourceAddresses: []string{"10.0.0.5", "2001:db8::5"}}}},
		"ports of two addresses":    {connections: 50000, upstreams: map[string]configs.Upstream{"mail": {Protocol: "imap", Addresses: []string{"10.0.0.1:143", "10.0.0.2:143"}}}},
		"a socket has no ports":     {connections: 50000, upstreams: map[string]configs.Upstream{"mail": {Protocol: "imap", Addresses: []string{"unix:/run/imap"}}}},
		"HTTP shares":               {connections: 50000, upstreams: map[string]configs.Upstream{"dav": {Protocol: "http", Addresses: []string{"10.0.0.1:80"}}}},
		"a wider range":             {files: map[string]string{"proc/sys/net/ipv4/ip_local_port_range": "1024 65535"}, connections: 60000, upstreams: one},
		"a firewall that follows":   {files: map[string]string{"proc/sys/net/netfilter/nf_conntrack_max": "65536"}, connections: 40000, want: []string{"follows 65536 connections (net.netfilter.nf_conntrack_max), and 80000|nf_conntrack_max=262144"}},
		"a firewall nearly full":    {files: map[string]string{"proc/sys/net/netfilter/nf_conntrack_max": "65536", "proc/sys/net/netfilter/nf_conntrack_count": "60000"}, want: []string{"follows 60000 connections of at most 65536|nf_conntrack_max=131072"}},
		"a firewall with room":      {files: map[string]string{"proc/sys/net/netfilter/nf_conntrack_max": "262144", "proc/sys/net/netfilter/nf_conntrack_count": "60000"}, connections: 40000},
		"short queues":              {files: map[string]string{"proc/sys/net/core/somaxconn": "128", "proc/sys/net/ipv4/tcp_max_syn_backlog": "128"}, connections: 30000, want: []string{"128 connections may wait until they are accepted (net.core.somaxconn), and 1000 a second|net.core.somaxconn=1024", "tcp_max_syn_backlog"}},
		"little memory for sockets": {files: map[string]string{"proc/sys/net/ipv4/tcp_mem": "9000 12000 18000"}, connections: 20000, want: []string{"TCP may hold 12000 pages before the kernel squeezes all of it (net.ipv4.tcp_mem), less than one for each of 40000|tcp_mem='40000 80000 120000'"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &configs.Config{Limits: configs.Limits{Connections: c.connections}, Upstreams: c.upstreams}
			got := lookAtHost(hostWith(c.files), "self", cfg)
			for i, want := range c.want {
				what, mend, _ := strings.Cut(want, "|")
				if i < len(got) && (!strings.Contains(got[i].what, what) || !strings.Contains(got[i].mend, mend)) {
					t.Errorf("got %q, mend %q; want %q, %q", got[i].what, got[i].mend, what, mend)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("got %d findings, want %d: %+v", len(got), len(c.want), got)
			}
		})
	}
}

// doctor tells of the process that serves, and the log of its own.
func TestHostLimitsAreTold(t *testing.T) {
	cfg := &configs.Config{Data: t.TempDir()}
	var out bytes.Buffer
	doctorHost(&out, hostWith(openFiles("1024", "4096")), cfg)
	if want := "warning  host: the process may open 1024 files, room for 384 connections (of a server started from this shell; none runs)\n         mend: "; !strings.HasPrefix(out.String(), want) {
		t.Errorf("doctor says %q", out.String())
	}
	out.Reset()
	h := &house{log: slog.New(slog.NewTextHandler(&out, nil))}
	h.now.Store(&settings{cfg: cfg})
	h.warnOfHost(hostWith(openFiles("1024", "4096")))
	if !strings.Contains(out.String(), "level=WARN") || !strings.Contains(out.String(), "may open 1024 files") || !strings.Contains(out.String(), "mend=") {
		t.Errorf("the log says %q", out.String())
	}
}
