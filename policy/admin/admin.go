// Package admin has the endpoints of administrators and operators: domains, their policies, members and the audit. It
// refuses nothing itself: authcore decides who may do what to whom.
package admin

import (
	"latchkey/authcore"
	"latchkey/policy/api"
)

// Register adds them.
func Register(k *api.Kit) {
	s := service{core: k.Core}
	s.domains(k)
	s.policies(k)
	s.announcements(k)
	s.members(k)
	s.statuses(k)
	s.twoSteps(k)
	s.deniedWays(k)
	s.credentials(k)
	s.quick(k)
	s.audit(k)
	s.tokens(k)
	s.nodes(k)
}

// Tags group the operations in the document.
const (
	domainTag = "Domains"
	memberTag = "Members"
)

type service struct{ core *authcore.Core }

// OnDomain is an operation on one domain. It is exported because huma looks into exported fields alone.
type OnDomain struct {
	Domain string `path:"domain" maxLength:"253" example:"example.org"`
}

// OnMember is an operation on one member.
type OnMember struct {
	Address string `path:"address" maxLength:"320" example:"ann@example.org" doc:"The member's address or an alias"`
}
