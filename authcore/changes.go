package authcore

import (
	"slices"
	"strings"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
)

// What the audit tells of a change: which fields, and their values before and after where they are an administrator's to
// see for as long as the audit is kept. A name is told without values, contacts are masked.

// audited is a member as the audit compares him.
type audited struct {
	Aliases         []string         `json:"aliases"`
	Role            member.Role      `json:"role"`
	Status          member.Status    `json:"status"`
	SuspendedReason string           `json:"suspended_reason"`
	Contacts        []string         `json:"contacts"`
	AppPasswords    bool             `json:"app_password_option"`
	TwoStep         member.TwoStepBy `json:"two_step"`
	DeniedWays      []string         `json:"denied_ways"`
	Language        string           `json:"language"`
	ClosedDoors     []string         `json:"closed_doors"`
}

func auditedMember(m member.Member) audited {
	v := audited{
		Aliases: m.Addresses[min(1, len(m.Addresses)):], Role: m.Role, Status: m.Status, SuspendedReason: m.SuspendedReason, AppPasswords: m.AppPasswords,
		TwoStep: m.TwoStep, DeniedWays: m.DeniedWays, Language: m.Language, ClosedDoors: m.ClosedDoors,
	}
	for _, k := range m.Contacts {
		state := "unverified"
		if k.Verified {
			state = "verified"
		}
		v.Contacts = append(v.Contacts, k.Kind+" "+maskedContact(k)+" ("+state+")")
	}
	return v
}

// memberChanges compares a member before and after.
func memberChanges(was, is member.Member) []audit.Change {
	l := audit.Changes(auditedMember(was), auditedMember(is))
	told := func(field string) bool {
		return slices.ContainsFunc(l, func(c audit.Change) bool { return c.Field == field })
	}
	if !slices.Equal(was.Contacts, is.Contacts) && !told("contacts") {
		l = append(l, audit.Change{Field: "contacts"}) // other ones that look alike when masked
	}
	if was.Name != is.Name {
		l = append(l, audit.Change{Field: "name"})
	}
	return l
}

// maskedContact shows as much of a contact as tells it from the member's others.
func maskedContact(k member.Contact) string {
	if k.Kind == member.Mobile {
		return k.Masked()
	}
	local, domain, _ := strings.Cut(k.Value, "@")
	first := []rune(local + "?")[:1]
	return string(first) + "…@" + domain
}

// auditedDomain is a domain as the audit compares it.
func auditedDomain(d member.Domain) any {
	d.ID, d.Epoch, d.DoorEpochs = "", 0, nil
	return d
}
