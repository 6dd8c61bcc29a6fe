package upstream

import (
	"slices"
	"strconv"
	"strings"
)

// Offer answers what a door may offer before sign-in if the connection may lead to any of the upstreams named: what every
// one of them offered at its last good probe, before the sign-in and, where the probe saw that, after it too. SIZE is
// the smallest. What belongs to the way to an upstream itself is left out. Nil: not all of them are known yet, so the
// door offers its basics.
func (p *Pool) Offer(protocol string, names []string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var common []string
	for i, name := range names {
		r, ok := p.good[name]
		if !ok || r.Protocol != protocol {
			return nil
		}
		if i == 0 {
			common = r.offered()
			continue
		}
		common = intersect(common, r.offered())
	}
	return common
}

// offered is what a member gets for certain.
func (r Report) offered() []string {
	caps := slices.DeleteFunc(slices.Clone(r.Before), ours)
	if r.After == nil {
		return caps
	}
	return intersect(caps, r.After)
}

// ours says whether a capability is about the connection that shows it, which the door ends, and not about the member's
// work.
func ours(capability string) bool {
	word, _, _ := strings.Cut(capability, " ")
	name, _, _ := strings.Cut(word, "=")
	switch name {
	case "AUTH", "SASL", "STARTTLS", "STLS", "XCLIENT", "XFORWARD", "LOGINDISABLED", "LOGIN-REFERRALS", "UNAUTHENTICATE":
		return true
	}
	return false
}

// intersect answers what is in both, in the order of a. Two limits of SIZE meet in the smaller one.
func intersect(a, b []string) []string {
	both := []string{}
	for _, x := range a {
		if slices.Contains(b, x) {
			both = append(both, x)
			continue
		}
		if size, ok := smallerSize(x, b); ok {
			both = append(both, size)
		}
	}
	return both
}

func smallerSize(x string, b []string) (string, bool) {
	mine, ok := sizeOf(x)
	if !ok {
		return "", false
	}
	for _, y := range b {
		theirs, ok := sizeOf(y)
		switch {
		case !ok:
		case mine == 0 || theirs > 0 && theirs < mine:
			return sizeKeyword(theirs), true
		default:
			return sizeKeyword(mine), true
		}
	}
	return "", false
}

func sizeKeyword(limit int64) string {
	if limit == 0 {
		return "SIZE"
	}
	return "SIZE " + strconv.FormatInt(limit, 10)
}
