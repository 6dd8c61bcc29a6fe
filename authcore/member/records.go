package member

import (
	"slices"
	"time"

	"latchkey/authcore/store"
	"latchkey/policy"
)

// Root is the partition that maps domain names to ids and holds operators' rights and server settings.
const Root = "_"

// Partition is where everything of a domain lies.
func Partition(d DomainID) string { return "d:" + string(d) }

// DomainKey, PolicyKey, AddressKey, Key and OperatorKey name the records of this package.
func DomainKey(d DomainID) store.Key { return store.Key{Partition: Partition(d), Name: "domain"} }

// PolicyKey names the policy document of a domain; without one the default holds.
func PolicyKey(d DomainID) store.Key { return store.Key{Partition: Partition(d), Name: "policy"} }

// AddressPrefix begins the names of addresses; behind it stands the canonical name, so that they list in order.
const AddressPrefix = "address/"

// AddressKey names the record that says whose an address is.
func AddressKey(d DomainID, n Name) store.Key {
	return store.Key{Partition: Partition(d), Name: AddressPrefix + n.String()}
}

// Key names a member's record.
func Key(d DomainID, id ID) store.Key {
	return store.Key{Partition: Partition(d), Name: "member/" + string(id)}
}

// DomainNameKey names the record of Root that answers a domain's id.
func DomainNameKey(name string) store.Key { return store.Key{Partition: Root, Name: "domain/" + name} }

// OperatorPrefix begins the names of operators' rights in Root.
const OperatorPrefix = "operator/"

// OperatorKey names the record of Root whose presence makes a member an operator.
func OperatorKey(id ID) store.Key {
	return store.Key{Partition: Root, Name: OperatorPrefix + string(id)}
}

// DomainName is the record at DomainNameKey.
type DomainName struct {
	ID DomainID `json:"id"`
}

// Operator is the record at OperatorKey.
type Operator struct {
	Domain DomainID  `json:"domain"`
	Since  time.Time `json:"since"`
}

// Address is the record at AddressKey.
type Address struct {
	Member  ID   `json:"member"`
	Primary bool `json:"primary,omitempty"`
}

// Domain is a tenant. CreatedAt is when the domain came to be as a mail domain, not when it was entered here.
type Domain struct {
	ID         DomainID          `json:"id"`
	Name       string            `json:"name"`
	CreatedAt  time.Time         `json:"created_at"`
	Closed     bool              `json:"closed,omitempty"`
	Doors      []string          `json:"doors"`     // those that are open
	Upstreams  map[string]string `json:"upstreams"` // by door: the name in the configuration
	Epoch      int64             `json:"epoch"`
	DoorEpochs map[string]int64  `json:"door_epochs,omitempty"`
}

// Open says whether every one of doors is open.
func (d *Domain) Open(doors ...string) bool {
	for _, door := range doors {
		if !slices.Contains(d.Doors, door) {
			return false
		}
	}
	return !d.Closed && len(doors) > 0
}

// DoorEpoch sums the epochs of doors: it rises when one of them does.
func (d *Domain) DoorEpoch(doors ...string) int64 {
	var n int64
	for _, door := range doors {
		n += d.DoorEpochs[door]
	}
	return n
}

// BornRequired says that the domain was created at or after the cutoff.
func (d *Domain) BornRequired(cutoff time.Time) bool { return !d.CreatedAt.Before(cutoff) }

// Role says what a member may do. Operator is never stored with the member: it is a right kept in Root.
type Role string

// The roles, from least to most.
const (
	RoleMember        Role = "member"
	RoleAdministrator Role = "administrator"
	RoleOperator      Role = "operator"
)

// Rank orders the roles; an unknown one ranks above all, so that nobody acts on it.
func (r Role) Rank() int {
	switch r {
	case RoleMember:
		return 1
	case RoleAdministrator:
		return 2
	case RoleOperator:
		return 3
	default:
		return 4
	}
}

// Status says whether a member may sign in.
type Status string

// The statuses. The empty one lets nobody in.
const (
	Active    Status = "active"
	Suspended Status = "suspended"
	Deleted   Status = "deleted"
)

// Why a member is suspended.
const (
	ByAdministrator  = "administrator"
	BySignInFailures = "sign_in_failures"
)

// RestorableFor is how long a deleted member can be restored and his addresses are kept for him.
const RestorableFor = 7 * 24 * time.Hour

// Contact is a personal e-mail address or mobile number of a member's profile.
type Contact struct {
	Kind     string `json:"kind" enum:"email,mobile"` // mobile is E.164
	Value    string `json:"value"`
	Verified bool   `json:"verified,omitempty"` // a code sent there came back
}

// The kinds of contacts.
const (
	Email  = "email"
	Mobile = "mobile"
)

// TwoStepBy says who switched 2-step verification on for a member.
type TwoStepBy string

// Empty: it is off. What the policy asked for ends with the policy; what the member chose stays.
const (
	ByMember TwoStepBy = "member"
	ByPolicy TwoStepBy = "policy"
)

// Member is a person with an address in a domain.
type Member struct {
	ID              ID        `json:"id"`
	Addresses       []string  `json:"addresses"` // canonical; the primary one first
	Name            string    `json:"name,omitempty"`
	Role            Role      `json:"role"` // RoleMember or RoleAdministrator
	Status          Status    `json:"status"`
	SuspendedReason string    `json:"suspended_reason,omitempty"`
	SuspendedAt     time.Time `json:"suspended_at,omitzero"`
	SuspendedBy     string    `json:"suspended_by,omitempty"` // the administrator's address; empty: the server
	DeletedAt       time.Time `json:"deleted_at,omitzero"`
	CreatedAt       time.Time `json:"created_at"`
	Contacts        []Contact `json:"contacts,omitempty"`
	AppPasswords    bool      `json:"app_passwords,omitempty"` // the option "use a third-party app password"
	TwoStep         TwoStepBy `json:"two_step_by,omitempty"`
	Language        string    `json:"language,omitempty"`    // of messages: en, ja, ko; empty: en
	DeniedWays      []string  `json:"denied_ways,omitempty"` // ways to sign in that an administrator denies him, as policy names them
	ClosedDoors     []string  `json:"closed_doors,omitempty"`
	Epoch           int64     `json:"epoch"`                 // of everything he is signed in to
	DoorsEpoch      int64     `json:"doors_epoch,omitempty"` // of his sessions at the doors alone
}

// AtDoors is the epoch of the member's sessions at the doors: it rises when one of his epochs does.
func (m *Member) AtDoors() int64 { return m.Epoch + m.DoorsEpoch }

// Address is the primary one.
func (m *Member) Address() string {
	if len(m.Addresses) == 0 {
		return ""
	}
	return m.Addresses[0]
}

// Accepts says which kind of credential counts for m at the doors of a domain.
func (m *Member) Accepts(d *Domain, p policy.Policy, cutoff, now time.Time) policy.Accepts {
	return p.ThirdParty.AtDoors(d.BornRequired(cutoff), now, m.AppPasswords, m.TwoStepOn(p))
}

// TwoStepOn says whether 2-step verification is asked of m: the policy requires it, or he chose it.
func (m *Member) TwoStepOn(p policy.Policy) bool {
	return p.SignIn.TwoStep == policy.TwoStepRequired || m.TwoStep == ByMember
}

// MayUse says whether a way to sign in beside the password is open to m.
func (m *Member) MayUse(way string, p policy.Policy) bool {
	return p.SignIn.Allows(way) && !slices.Contains(m.DeniedWays, way)
}
