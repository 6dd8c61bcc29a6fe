package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/policy/api"
)

func (s service) members(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "list-members", Method: http.MethodGet, Path: "/domains/{domain}/members", Tag: memberTag,
		Summary: "Members by address"}, s.listMembers)
	api.SignedIn(k, api.Operation{ID: "create-member", Method: http.MethodPost, Path: "/domains/{domain}/members", Tag: memberTag, Status: http.StatusCreated, Creates: true,
		Summary: "Make a member; his temporary password is in this answer and never seen again"}, s.createMember)
	api.SignedIn(k, api.Operation{ID: "get-member", Method: http.MethodGet, Path: "/members/{address}", Tag: memberTag,
		Summary: "One member, with his revision as ETag"}, s.member)
	api.SignedIn(k, api.Operation{ID: "update-member", Method: http.MethodPatch, Path: "/members/{address}", Tag: memberTag,
		Summary: "Change what is given, over the revision of If-Match if there is one"}, s.updateMember)
	api.SignedIn(k, api.Operation{ID: "delete-member", Method: http.MethodDelete, Path: "/members/{address}", Tag: memberTag,
		Summary: "Delete a member; he can be restored for 7 days"}, s.deleteMember)
}

type memberQuery struct {
	OnDomain
	api.Page
	Text string `query:"q" maxLength:"200" doc:"Part of an address, an alias or a name"`
}

func (s service) listMembers(ctx context.Context, a authcore.Actor, in *memberQuery) (*api.Reply[api.List[api.Member]], error) {
	l, next, err := s.core.Members(ctx, a, in.Domain, strings.ToLower(in.Text), in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, next, api.MemberOf), nil
}

// NewContact is a personal e-mail address or mobile number as an administrator enters it. A code verifies it later.
type NewContact struct {
	Kind  string `json:"kind" enum:"email,mobile"`
	Value string `json:"value" maxLength:"320" doc:"A mobile number as in E.164: +819012345678"`
}

func contacts(l []NewContact) []member.Contact {
	c := make([]member.Contact, len(l))
	for i, k := range l {
		c[i] = member.Contact{Kind: k.Kind, Value: k.Value}
	}
	return c
}

type newMember struct {
	OnDomain
	Body struct {
		Address      string       `json:"address" maxLength:"1024"`
		Name         string       `json:"name,omitempty" maxLength:"1024"`
		Aliases      []string     `json:"aliases,omitempty" nullable:"false" maxItems:"100"`
		Role         member.Role  `json:"role,omitempty" enum:"member,administrator" doc:"Default: member"`
		Contacts     []NewContact `json:"contacts,omitempty" nullable:"false" maxItems:"100"`
		ConfirmReuse bool         `json:"confirm_reuse,omitempty" doc:"The address was a deleted member's; the new one inherits nothing"`
	} `nameHint:"NewMember"`
}

// CreatedMember is a member with his first password.
type CreatedMember struct {
	api.Member
	TemporaryPassword string    `json:"temporary_password" doc:"Shown once; for the web only, where he sets his own"`
	ExpiresAt         time.Time `json:"temporary_password_expires_at"`
}

func (s service) createMember(ctx context.Context, a authcore.Actor, in *newMember) (*api.Tagged[CreatedMember], error) {
	b := in.Body
	p, temporary, err := s.core.CreateMember(ctx, a, in.Domain, authcore.NewMember{
		Address: b.Address, Name: b.Name, Aliases: b.Aliases, Role: b.Role, Contacts: contacts(b.Contacts), ConfirmReuse: b.ConfirmReuse,
	})
	if err != nil {
		return nil, err
	}
	v := CreatedMember{Member: api.MemberOf(p), TemporaryPassword: temporary.Reveal(), ExpiresAt: p.Member.CreatedAt.Add(password.TemporaryFor)}
	return &api.Tagged[CreatedMember]{ETag: api.Tag(p.Revision), Body: v}, nil
}

func (s service) member(ctx context.Context, a authcore.Actor, in *OnMember) (*api.Tagged[api.Member], error) {
	return tagged(s.core.MemberOf(ctx, a, in.Address))
}

func tagged(p authcore.Profile, err error) (*api.Tagged[api.Member], error) {
	if err != nil {
		return nil, err
	}
	return api.TaggedMember(p), nil
}

type memberChange struct {
	OnMember
	api.IfMatch
	Body struct {
		Name        *string       `json:"name,omitempty" maxLength:"1024"`
		Aliases     *[]string     `json:"aliases,omitempty" nullable:"false" maxItems:"100" doc:"All of them"`
		Role        *member.Role  `json:"role,omitempty" enum:"member,administrator"`
		Contacts    *[]NewContact `json:"contacts,omitempty" nullable:"false" maxItems:"100" doc:"All of them"`
		ClosedDoors *[]string     `json:"closed_doors,omitempty" nullable:"false" maxItems:"20" doc:"All of them"`
		Language    *string       `json:"language,omitempty" enum:"en,ja,ko" doc:"Of his messages"`
		MustChange  *bool         `json:"must_change_password,omitempty" doc:"A new password at his next sign-in"`
		Restore     bool          `json:"restore,omitempty" doc:"Bring a deleted member back"`
	} `nameHint:"MemberChange"`
}

func (s service) updateMember(ctx context.Context, a authcore.Actor, in *memberChange) (*api.Tagged[api.Member], error) {
	over, err := in.RevisionIfAny()
	if err != nil {
		return nil, err
	}
	b := in.Body
	ch := authcore.MemberChange{Name: b.Name, Aliases: b.Aliases, Role: b.Role, ClosedDoors: b.ClosedDoors, Language: b.Language, MustChange: b.MustChange, Restore: b.Restore}
	if b.Contacts != nil {
		c := contacts(*b.Contacts)
		ch.Contacts = &c
	}
	return tagged(s.core.UpdateMember(ctx, a, in.Address, ch, over))
}

func (s service) deleteMember(ctx context.Context, a authcore.Actor, in *OnMember) (*api.None, error) {
	return nil, s.core.DeleteMember(ctx, a, in.Address)
}
