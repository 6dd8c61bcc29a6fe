package member

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
	"latchkey/policy"
)

// Directory finds domains and members by name, through the cache. What it answers is shared and read-only.
type Directory struct {
	Cache *cache.Cache
	Keys  *secret.Keys
}

// Tenant is a domain with its policy and the revision of each record.
type Tenant struct {
	Domain         *Domain
	Policy         policy.Policy
	Revision       int64 // of the domain's record
	PolicyRevision int64 // 0: the default holds
}

// Person is a member with the revision of his record. For a name that nobody has, Member is nil and ID that of one of
// the domain's shadows, under which the same records are read and written as for a real one.
type Person struct {
	ID       ID
	Member   *Member
	Revision int64
}

// Tenant answers the domain with this canonical name; nil when there is none.
func (d *Directory) Tenant(ctx context.Context, name string) (*Tenant, error) {
	n, _, err := cache.Read[DomainName](ctx, d.Cache, DomainNameKey(name))
	if err != nil || n == nil {
		return nil, err
	}
	return d.TenantByID(ctx, n.ID)
}

// TenantByID is Tenant by id.
func (d *Directory) TenantByID(ctx context.Context, id DomainID) (*Tenant, error) {
	dom, rev, err := cache.Read[Domain](ctx, d.Cache, DomainKey(id))
	if err != nil {
		return nil, err
	}
	p, prev, err := cache.Read[savedPolicy](ctx, d.Cache, PolicyKey(id)) // also where there is no domain: the same reads
	if err != nil || dom == nil {
		return nil, err
	}
	t := &Tenant{Domain: dom, Revision: rev, Policy: policy.Default()}
	if p != nil {
		t.Policy, t.PolicyRevision = policy.Policy(*p), prev
	}
	return t, nil
}

// savedPolicy is a policy as it was saved, perhaps by an older version: what it does not name has its default.
type savedPolicy policy.Policy

func (s *savedPolicy) UnmarshalJSON(b []byte) error {
	v := policy.Default()
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*s = savedPolicy(v)
	return nil
}

// PolicyDirect answers a domain's policy and its revision past the cache, for a change that will be written over it.
func (d *Directory) PolicyDirect(ctx context.Context, id DomainID) (policy.Policy, int64, error) {
	p, rev, err := cache.ReadDirect[savedPolicy](ctx, d.Cache.Direct(), PolicyKey(id))
	if err != nil || p == nil {
		return policy.Default(), 0, err
	}
	return policy.Policy(*p), rev, nil
}

// Person finds who has the address. It reads the same records whether somebody has it or not.
func (d *Directory) Person(ctx context.Context, domain DomainID, n Name) (Person, error) {
	a, _, err := cache.Read[Address](ctx, d.Cache, AddressKey(domain, n))
	if err != nil {
		return Person{}, err
	}
	id := d.Shadow(domain, n)
	if a != nil {
		id = a.Member
	}
	return d.PersonByID(ctx, domain, id)
}

// PersonByID is Person by id; Member is nil when there is none.
func (d *Directory) PersonByID(ctx context.Context, domain DomainID, id ID) (Person, error) {
	m, rev, err := cache.Read[Member](ctx, d.Cache, Key(domain, id))
	if err != nil {
		return Person{}, err
	}
	return Person{ID: id, Member: m, Revision: rev}, nil
}

// Shadows is how many shadow records a domain has: enough that two unknown names seldom wait for each other, few enough
// that guessing names fills no store.
const Shadows = 256

// Shadow answers which shadow of the domain stands in for a name that nobody has.
func (d *Directory) Shadow(domain DomainID, n Name) ID {
	mac := d.Keys.Stable("shadow", string(domain), n.String())
	return ID(fmt.Sprintf("shadow-%03d", binary.BigEndian.Uint16(mac)%Shadows))
}

// IsOperator says whether the member may do everything.
func (d *Directory) IsOperator(ctx context.Context, id ID) (bool, error) {
	o, _, err := cache.Read[Operator](ctx, d.Cache, OperatorKey(id))
	return o != nil, err
}

// Role is the member's role, operators' rights included.
func (d *Directory) Role(ctx context.Context, m *Member) (Role, error) {
	op, err := d.IsOperator(ctx, m.ID)
	if err != nil {
		return "", err
	}
	if op {
		return RoleOperator, nil
	}
	return m.Role, nil
}

// AdministratorPrefix begins the names of the records, empty ones, that list a domain's administrators.
const AdministratorPrefix = "administrator/"

// AdministratorKey names one of them. It is written in the batch that gives or takes the role.
func AdministratorKey(d DomainID, id ID) store.Key {
	return store.Key{Partition: Partition(d), Name: AdministratorPrefix + string(id)}
}

// Administrators answers the ids of a domain's administrators, whatever their status.
func (d *Directory) Administrators(ctx context.Context, domain DomainID) ([]ID, error) {
	recs, err := d.Cache.List(ctx, Partition(domain), store.Query{Prefix: AdministratorPrefix})
	if err != nil {
		return nil, fmt.Errorf("list administrators: %w", err)
	}
	ids := make([]ID, len(recs))
	for i, r := range recs {
		ids[i] = ID(r.Name[len(AdministratorPrefix):])
	}
	return ids, nil
}

// OtherActiveAdministrators answers the active administrators of the domain beside one, read past the cache.
func (d *Directory) OtherActiveAdministrators(ctx context.Context, domain DomainID, but ID) ([]Person, error) {
	ids, err := d.Administrators(ctx, domain)
	if err != nil {
		return nil, err
	}
	var others []Person
	for _, id := range ids {
		if id == but {
			continue
		}
		m, rev, err := cache.ReadDirect[Member](ctx, d.Cache.Direct(), Key(domain, id))
		if err != nil {
			return nil, err
		}
		if m != nil && m.Status == Active && m.Role == RoleAdministrator {
			others = append(others, Person{ID: id, Member: m, Revision: rev})
		}
	}
	return others, nil
}

// PutOp writes v as the record at k.
func PutOp(k store.Key, v any, ifRevision int64) store.Op {
	p, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("member: %T cannot be a record: %v", v, err)) // a type that cannot be written is a bug
	}
	return store.Op{Kind: store.Put, Name: k.Name, Value: p, IfRevision: ifRevision}
}
