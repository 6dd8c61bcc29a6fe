package admin

import (
	"context"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/policy"
	"latchkey/policy/api"
)

func (s service) domains(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "list-domains", Method: http.MethodGet, Path: "/domains", Tag: domainTag,
		Summary: "The domains that I may see, by name"}, s.listDomains)
	api.SignedIn(k, api.Operation{ID: "create-domain", Method: http.MethodPost, Path: "/domains", Tag: domainTag, Status: http.StatusCreated, Creates: true,
		Summary: "Make a domain (operators)"}, s.createDomain)
	api.SignedIn(k, api.Operation{ID: "get-domain", Method: http.MethodGet, Path: "/domains/{domain}", Tag: domainTag, Summary: "One domain"}, s.domain)
	api.SignedIn(k, api.Operation{ID: "update-domain", Method: http.MethodPatch, Path: "/domains/{domain}", Tag: domainTag,
		Summary: "Open and close doors; operators also close the domain, and set its creation and upstreams"}, s.updateDomain)
}

// Domain is a domain as its administrators see it.
type Domain struct {
	Name               string            `json:"name"`
	CreatedAt          time.Time         `json:"created_at" doc:"When it came to be as a mail domain"`
	Closed             bool              `json:"closed"`
	Doors              []string          `json:"doors" nullable:"false" doc:"Those that are open"`
	Upstreams          map[string]string `json:"upstreams" doc:"By door, the name in the configuration"`
	ThirdParty         policy.ThirdParty `json:"third_party" readOnly:"true" doc:"Of its policy"`
	AlwaysAppPasswords bool              `json:"always_app_passwords" doc:"It was created at or after the cutoff: members have no choice, ever"`
}

func domainOf(v authcore.DomainView) Domain {
	d := Domain{
		Name: v.Domain.Name, CreatedAt: v.Domain.CreatedAt, Closed: v.Domain.Closed, Doors: v.Domain.Doors, Upstreams: v.Domain.Upstreams,
		ThirdParty: v.ThirdParty, AlwaysAppPasswords: v.Born,
	}
	if d.Doors == nil {
		d.Doors = []string{}
	}
	if d.Upstreams == nil {
		d.Upstreams = map[string]string{}
	}
	return d
}

func (s service) listDomains(ctx context.Context, a authcore.Actor, in *struct{ api.Page }) (*api.Reply[api.List[Domain]], error) {
	l, next, err := s.core.Domains(ctx, a, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, next, domainOf), nil
}

type newDomain struct {
	Body struct {
		Name      string            `json:"name" maxLength:"1024"`
		CreatedAt time.Time         `json:"created_at,omitzero" doc:"Default: now"`
		Doors     []string          `json:"doors,omitempty" nullable:"false" maxItems:"20" doc:"Default: all"`
		Upstreams map[string]string `json:"upstreams,omitempty" maxProperties:"20" doc:"By door; default: the first that the configuration allows"`
	} `nameHint:"NewDomain"`
}

func (s service) createDomain(ctx context.Context, a authcore.Actor, in *newDomain) (*api.Reply[Domain], error) {
	b := in.Body
	v, err := s.core.CreateDomain(ctx, a, authcore.NewDomain{Name: b.Name, CreatedAt: b.CreatedAt, Doors: b.Doors, Upstreams: b.Upstreams})
	if err != nil {
		return nil, err
	}
	return &api.Reply[Domain]{Body: domainOf(v)}, nil
}

func (s service) domain(ctx context.Context, a authcore.Actor, in *OnDomain) (*api.Reply[Domain], error) {
	v, err := s.core.Domain(ctx, a, in.Domain)
	if err != nil {
		return nil, err
	}
	return &api.Reply[Domain]{Body: domainOf(v)}, nil
}

type domainChange struct {
	OnDomain
	Body struct {
		Closed    *bool             `json:"closed,omitempty"`
		CreatedAt *time.Time        `json:"created_at,omitempty"`
		Doors     *[]string         `json:"doors,omitempty" nullable:"false" maxItems:"20"`
		Upstreams map[string]string `json:"upstreams,omitempty" maxProperties:"20" doc:"Those given replace; an empty name removes"`
	} `nameHint:"DomainChange"`
}

func (s service) updateDomain(ctx context.Context, a authcore.Actor, in *domainChange) (*api.Reply[Domain], error) {
	b := in.Body
	v, err := s.core.UpdateDomain(ctx, a, in.Domain, authcore.DomainChange{Closed: b.Closed, CreatedAt: b.CreatedAt, Doors: b.Doors, Upstreams: b.Upstreams})
	if err != nil {
		return nil, err
	}
	return &api.Reply[Domain]{Body: domainOf(v)}, nil
}
