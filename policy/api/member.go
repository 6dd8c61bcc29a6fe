package api

import (
	"cmp"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/session"
	"latchkey/policy"
)

// Member is a member as he and his administrators see him.
type Member struct {
	ID                string           `json:"id"`
	Address           string           `json:"address"`
	Aliases           []string         `json:"aliases" nullable:"false"`
	Domain            string           `json:"domain"`
	Name              string           `json:"name"`
	Role              string           `json:"role" enum:"member,administrator,operator"`
	Status            string           `json:"status" enum:"active,suspended,deleted"`
	SuspendedReason   string           `json:"suspended_reason,omitempty" enum:"administrator,sign_in_failures"`
	SuspendedAt       time.Time        `json:"suspended_at,omitzero"`
	SuspendedBy       string           `json:"suspended_by,omitempty" doc:"An administrator's address; without one it was the server"`
	DeletedAt         time.Time        `json:"deleted_at,omitzero"`
	RestorableUntil   time.Time        `json:"restorable_until,omitzero"`
	CreatedAt         time.Time        `json:"created_at"`
	Contacts          []member.Contact `json:"contacts" nullable:"false"`
	TwoStep           bool             `json:"two_step"`
	AppPasswordOption Option           `json:"app_password_option"`
	AcceptedAtDoors   string           `json:"accepted_at_doors" enum:"app_password,account_password" doc:"The one kind of credential that counts for him"`
	AppPasswords      int              `json:"app_passwords" doc:"How many he has"`
	ClosedDoors       []string         `json:"closed_doors" nullable:"false"`
	Language          string           `json:"language" enum:"en,ja,ko" doc:"Of his messages"`
	DeniedWays        []string         `json:"denied_ways" nullable:"false" doc:"Ways to sign in that an administrator denies him, whatever the domain allows"`
}

// Option is the member's "use a third-party app password".
type Option struct {
	Enabled bool `json:"enabled"`
	Fixed   bool `json:"fixed" doc:"The domain has chosen: there is no switch"`
}

// MemberOf shows a profile.
func MemberOf(p authcore.Profile) Member {
	m := p.Member
	v := Member{
		ID: string(m.ID), Address: m.Address(), Aliases: nonNil(m.Addresses[min(1, len(m.Addresses)):]), Domain: p.Domain.Name, Name: m.Name,
		Role: string(p.Role), Status: string(m.Status), SuspendedReason: m.SuspendedReason, SuspendedAt: m.SuspendedAt, SuspendedBy: m.SuspendedBy,
		DeletedAt: m.DeletedAt, CreatedAt: m.CreatedAt, Contacts: nonNil(m.Contacts), TwoStep: p.TwoStepOn,
		AppPasswordOption: Option{Enabled: m.AppPasswords || p.OptionFixed, Fixed: p.OptionFixed},
		AcceptedAtDoors:   "account_password", AppPasswords: p.AppPasswords, ClosedDoors: nonNil(m.ClosedDoors), Language: cmp.Or(m.Language, "en"), DeniedWays: nonNil(m.DeniedWays),
	}
	if p.AcceptsApps {
		v.AcceptedAtDoors = "app_password"
	}
	if m.Status == member.Deleted {
		v.RestorableUntil = m.DeletedAt.Add(member.RestorableFor)
	}
	return v
}

// TaggedMember shows a profile with its revision.
func TaggedMember(p authcore.Profile) *Tagged[Member] {
	return &Tagged[Member]{ETag: Tag(p.Revision), Body: MemberOf(p)}
}

func nonNil[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// AppPassword is an app password as lists show it: never with its secret.
type AppPassword struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Doors       []string  `json:"doors" nullable:"false" doc:"Those that it is good for"`
	Networks    []string  `json:"networks" nullable:"false" doc:"Those that it is good from; none: from anywhere"`
	CreatedAt   time.Time `json:"created_at"`
	CreatedFrom string    `json:"created_from,omitempty"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	LastUsed    *LastUsed `json:"last_used,omitempty"`
}

// LastUsed is when an app password was last used, to the minute, and by what.
type LastUsed struct {
	At    time.Time `json:"at"`
	Door  string    `json:"door"`
	From  string    `json:"from"`
	Agent string    `json:"agent,omitempty" doc:"The program's name for itself"`
}

// AppPasswordOf shows one.
func AppPasswordOf(p authcore.AppPassword) AppPassword {
	v := AppPassword{
		ID: p.ID, Name: p.Name, Doors: p.Doors, Networks: []string{}, CreatedAt: p.CreatedAt, CreatedFrom: p.CreatedFrom, ExpiresAt: p.ExpiresAt,
	}
	if len(v.Doors) == 0 {
		v.Doors = policy.Doors()
	}
	for _, n := range p.Networks {
		v.Networks = append(v.Networks, n.String())
	}
	if p.Use != nil {
		v.LastUsed = &LastUsed{At: p.Use.At, Door: p.Use.Door, From: p.Use.From, Agent: p.Use.Agent}
	}
	return v
}

// Session is one thing that a member is signed in to.
type Session struct {
	ID             string    `json:"id"`
	Kind           string    `json:"kind" enum:"web,door"`
	Door           string    `json:"door,omitempty"`
	Name           string    `json:"name,omitempty" doc:"Of an API token"`
	Credential     string    `json:"credential,omitempty" doc:"At a door: the id of the app password, or account"`
	CredentialName string    `json:"credential_name,omitempty"`
	From           string    `json:"from,omitempty"`
	Agent          string    `json:"agent,omitempty"`
	Since          time.Time `json:"since"`
	UsedAt         time.Time `json:"used_at,omitzero" doc:"On the web, to five minutes"`
	ExpiresAt      time.Time `json:"expires_at,omitzero"`
	Current        bool      `json:"current" doc:"The one that asks"`
	Node           string    `json:"node,omitempty" doc:"At a door of a fleet: the name of the node that it is on"`
}

// DoorSessionOf shows one at a door.
func DoorSessionOf(d session.Door) Session {
	return Session{ID: string(d.ID), Kind: "door", Door: d.Door, Credential: d.Credential, CredentialName: d.CredentialName,
		From: d.From, Agent: d.Agent, Since: d.Since, ExpiresAt: d.Until, Node: d.Node}
}

// SessionsOf shows them all, those at the doors first.
func SessionsOf(s authcore.Sessions) *Reply[List[Session]] {
	l := []Session{}
	for _, d := range s.Doors {
		l = append(l, DoorSessionOf(d))
	}
	for _, w := range s.Web {
		l = append(l, Session{ID: string(w.ID), Kind: "web", Name: w.Name, From: w.From, Agent: w.Agent, Since: w.CreatedAt, UsedAt: w.UsedAt,
			ExpiresAt: w.ExpiresAt, Current: w.ID == s.Current})
	}
	return &Reply[List[Session]]{Body: List[Session]{Items: l}}
}
