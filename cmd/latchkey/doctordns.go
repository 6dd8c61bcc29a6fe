package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"latchkey/configs"
	"latchkey/policy/autoconfig"
)

// resolver is what doctor asks the DNS for; *net.Resolver keeps it.
type resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupHost(ctx context.Context, name string) ([]string, error)
}

// dnsTime bounds one question: two servers of a resolver, asked twice.
const dnsTime = 20 * time.Second

// doctorDNS compares what the DNS says of each domain with where the doors are. A record that leads elsewhere is an error,
// one that is missing a warning: programs then ask people for host names and ports.
func doctorDNS(ctx context.Context, out io.Writer, dns resolver, cfg *configs.Config, domains string) (failures int) {
	for domain := range strings.SplitSeq(domains, ",") {
		domain = strings.ToLower(strings.TrimSpace(domain))
		if domain == "" {
			continue
		}
		l := servicesOf(cfg)
		for _, r := range l.Records(domain, configs.HostOf(cfg.Pages())) {
			f := lookAt(ctx, dns, r)
			if f.level == "error" {
				failures++
			}
			fmt.Fprintf(out, "%-8s dns %s %s: %s\n", f.level, r.Type, r.Name, f.what)
			if f.level != "ok" {
				fmt.Fprintf(out, "         mend: %s\n", r)
			}
		}
	}
	return failures
}

// dnsFinding is what one record is like.
type dnsFinding struct{ level, what string }

func lookAt(ctx context.Context, dns resolver, r autoconfig.Record) dnsFinding {
	ctx, cancel := context.WithTimeout(ctx, dnsTime)
	defer cancel()
	var got []string
	var err error
	switch r.Type {
	case "SRV":
		var l []*net.SRV
		_, l, err = dns.LookupSRV(ctx, "", "", r.Name)
		for _, s := range l {
			got = append(got, fmt.Sprintf("%d %s", s.Port, strings.ToLower(s.Target)))
		}
	case "TXT":
		var l []string
		l, err = dns.LookupTXT(ctx, r.Name)
		for _, s := range l {
			got = append(got, fmt.Sprintf("%q", s))
		}
	default:
		got, err = dns.LookupHost(ctx, r.Name)
	}
	var unknown *net.DNSError
	if err != nil && !(errors.As(err, &unknown) && unknown.IsNotFound) {
		return dnsFinding{"warning", "the DNS does not answer: " + err.Error()}
	}
	return judgeRecord(r, got)
}

// judgeRecord compares what is there with what should be.
func judgeRecord(r autoconfig.Record, got []string) dnsFinding {
	want := r.Value
	if r.Type == "SRV" {
		f := strings.Fields(r.Value) // priority, weight, port, target
		want = f[2] + " " + f[3]
	}
	none := r.Type == "SRV" && want == "0 ."
	switch {
	case len(got) == 0 && none:
		return dnsFinding{"ok", "there is no such service"}
	case len(got) == 0:
		return dnsFinding{"warning", "is missing"}
	case r.Type == "CNAME", slices.Contains(got, want):
		return dnsFinding{"ok", strings.Join(got, ", ")}
	}
	return dnsFinding{"error", "leads elsewhere: " + strings.Join(got, ", ")}
}
