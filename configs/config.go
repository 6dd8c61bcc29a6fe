// Package configs is the static configuration: listeners, keys, the data folder, upstreams and who may use them. It is
// read strictly: an unknown key, a wrong type and a value out of bounds are each told with file, line, key and mend, all
// at once. What administrators change is no configuration but a record (package policy).
//
// It refuses YAML that means more than it says: anchors and aliases, tags, a second document, a number for a duration, a key
// that stands twice. Secrets are never in the file, only the names of files that hold them.
//
// latchkey.yaml shows every key with its why, default and bounds, and a test holds it to these types; examples has what
// the servers behind need, systemd the units.
package configs

import (
	"net/netip"
	"time"
)

// Config is the file. Every key stands in latchkey.yaml, with its why. It is never changed once it is loaded: a reload
// makes another one.
type Config struct {
	Node         string              `yaml:"node"`     // name of this process among the fleet's
	Data         string              `yaml:"data"`     // folder of what this process alone owns: the embedded store
	Keys         string              `yaml:"keys"`     // file of the server keys
	Hostname     string              `yaml:"hostname"` // in greetings, EHLO and Received
	Cutoff       time.Time           `yaml:"cutoff"`   // domains created from here on take app passwords only
	Store        Store               `yaml:"store"`
	Log          Log                 `yaml:"log"`
	Certificates []Certificate       `yaml:"certificates"`
	Listeners    []Listener          `yaml:"listeners"`
	Ops          Ops                 `yaml:"ops"`
	Tokens       Tokens              `yaml:"tokens"`
	SignIn       SignIn              `yaml:"sign_in"`
	WebAuthn     WebAuthn            `yaml:"webauthn"`
	Upstreams    map[string]Upstream `yaml:"upstreams"`
	Programs     Programs            `yaml:"programs"`
	Console      Console             `yaml:"console"`
	Audit        Audit               `yaml:"audit"`
	Notify       Notify              `yaml:"notify"`
	Limits       Limits              `yaml:"limits"`

	path  string
	lines map[string]int // of every key, by its path
}

// Log says what is logged and how, to standard error.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// Certificate is a chain and its key, in PEM files; the name that a client asks for (SNI) chooses one.
type Certificate struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Listener is one address with the protocol spoken there.
type Listener struct {
	Name          string         `yaml:"name"`
	Protocol      string         `yaml:"protocol"` // imap, smtp, pop3, dav, api
	Address       string         `yaml:"address"`  // host:port, or systemd:NAME
	TLS           string         `yaml:"tls"`      // implicit, starttls
	Doors         []string       `yaml:"doors"`    // dav: caldav, carddav
	ProxyFrom     []netip.Prefix `yaml:"proxy_protocol_from"`
	DefaultDomain string         `yaml:"default_domain"`
	Upstreams     []string       `yaml:"upstreams"`    // that its members may be led to: what it offers before sign-in
	AnySender     bool           `yaml:"any_sender"`   // smtp
	ContextPath   string         `yaml:"context_path"` // dav
	PagesFor      []string       `yaml:"pages_for"`    // dav: host names at which the web pages are served
}

// Ops is the private listener.
type Ops struct {
	Address string `yaml:"address"`
}

// Tokens are those that sign members in at upstreams with sign_in token, basic or bearer.
type Tokens struct {
	Issuer string `yaml:"issuer"`
}

// SignIn is what members sign in with on the web and in the app, beside their passwords.
type SignIn struct {
	DefaultCountry string     `yaml:"default_country"` // of mobile numbers typed without "+", like JP
	Codes          Codes      `yaml:"codes"`
	Providers      []Provider `yaml:"providers"`
}

// Codes bound how many one-time codes leave in an hour.
type Codes struct {
	PerSource  int `yaml:"per_source"`
	PerAddress int `yaml:"per_address"`
	PerCountry int `yaml:"per_country"`
	PerChannel int `yaml:"per_channel"`
}

// Provider is LINE or another OpenID provider.
type Provider struct {
	Name        string   `yaml:"name"`
	Kind        string   `yaml:"kind"` // line, openid
	Issuer      string   `yaml:"issuer"`
	ClientID    string   `yaml:"client_id"`
	SecretFile  string   `yaml:"secret_file"`
	RedirectURL string   `yaml:"redirect_url"`
	Scopes      []string `yaml:"scopes"`
	CAFile      string   `yaml:"ca_file"`
}

// Audit says how long it is kept.
type Audit struct {
	KeepDays int `yaml:"keep_days"`
}

// Upstream is a real server.
type Upstream struct {
	Protocol              string   `yaml:"protocol"` // imap, smtp, pop3, http
	Addresses             []string `yaml:"addresses"`
	SourceAddresses       []string `yaml:"source_addresses"` // of this host, to dial from
	Warm                  int      `yaml:"warm"`             // connections that wait at each address
	TLS                   TLS      `yaml:"tls"`
	SignIn                string   `yaml:"sign_in"`
	Master                string   `yaml:"master"`
	SecretFile            string   `yaml:"secret_file"`
	Audience              string   `yaml:"audience"`
	Header                string   `yaml:"header"`
	BasicUser             string   `yaml:"basic_user"`
	Facts                 string   `yaml:"facts"`
	User                  string   `yaml:"user"` // address, id
	AuthenticatesOnlyDoor bool     `yaml:"authenticates_only_door"`
	ProbeUser             string   `yaml:"probe_user"`
	Domains               []string `yaml:"domains"`
}

// TLS says how the way to an upstream is protected.
type TLS struct {
	Mode       string `yaml:"mode"` // tls, starttls, none
	CAFile     string `yaml:"ca_file"`
	ServerName string `yaml:"server_name"`
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
	Insecure   bool   `yaml:"insecure"`
}

// Notify says how messages leave: what is left out does not exist, and nothing is offered that would need it.
type Notify struct {
	Email    Email              `yaml:"email"`
	SMS      SMS                `yaml:"sms"`
	Webhooks map[string]Webhook `yaml:"webhooks"`
}

// Email is the server that takes e-mail.
type Email struct {
	Address    string `yaml:"address"`
	TLS        string `yaml:"tls"` // tls, starttls, none
	CAFile     string `yaml:"ca_file"`
	ServerName string `yaml:"server_name"`
	User       string `yaml:"user"`
	SecretFile string `yaml:"secret_file"`
	From       string `yaml:"from"`
}

// SMS is a gateway that takes text messages.
type SMS struct {
	Method         string            `yaml:"method"`
	URL            string            `yaml:"url"`
	Headers        map[string]string `yaml:"headers"`
	Format         string            `yaml:"format"` // form, json
	Body           string            `yaml:"body"`
	Auth           string            `yaml:"auth"` // basic, bearer
	User           string            `yaml:"user"`
	SecretFile     string            `yaml:"secret_file"`
	SignHeader     string            `yaml:"sign_header"`
	SignSecretFile string            `yaml:"sign_secret_file"`
	CAFile         string            `yaml:"ca_file"`
}

// Webhook is told of events.
type Webhook struct {
	URL        string   `yaml:"url"`
	SecretFile string   `yaml:"secret_file"`
	CAFile     string   `yaml:"ca_file"`
	Domains    []string `yaml:"domains"`
	Kinds      []string `yaml:"kinds"`
}

// Limits bound what clients can take.
type Limits struct {
	Hold             time.Duration `yaml:"hold"`
	HashSlots        int           `yaml:"hash_slots"`
	HashMemoryKiB    int           `yaml:"hash_memory_kib"`
	HashTime         int           `yaml:"hash_time"`
	PerMemberAndDoor int           `yaml:"per_member_and_door"`
	PerSource        int           `yaml:"per_source"`
	Connections      int           `yaml:"connections"`
	IdleTimeout      time.Duration `yaml:"idle_timeout"`
	DrainTimeout     time.Duration `yaml:"drain_timeout"`
	DrainNotice      time.Duration `yaml:"drain_notice"`
	CacheEntries     int           `yaml:"cache_entries"`
	APIPerMember     int           `yaml:"api_per_member"`
	APIPerSource     int           `yaml:"api_per_source"`
}

// The protocols of listeners.
const (
	IMAP = "imap"
	SMTP = "smtp"
	POP3 = "pop3"
	DAV  = "dav"
	API  = "api"
)

// When TLS begins at a listener.
const (
	Implicit = "implicit"
	StartTLS = "starttls"
)

// Default is what holds for keys that the file leaves out.
func Default() Config {
	return Config{
		Data: "/var/lib/latchkey", Keys: "/etc/latchkey/keys.json",
		Cutoff: time.Date(2022, 10, 13, 0, 0, 0, 0, time.FixedZone("", 9*3600)),
		Store: Store{Engine: SQLite, Outage: Refuse, Lease: 30 * time.Second,
			Redis: Redis{Mode: Standalone, Prefix: "latchkey", Replicas: 1}},
		Log:      Log{Level: "info", Format: "text"},
		Ops:      Ops{Address: "127.0.0.1:9143"},
		WebAuthn: WebAuthn{Name: "Latchkey"},
		SignIn:   SignIn{Codes: Codes{PerSource: 30, PerAddress: 5, PerCountry: 300, PerChannel: 1000}},
		Console:  Console{HSTSDays: 365},
		Audit:    Audit{KeepDays: 180},
		Limits: Limits{
			Hold: 2 * time.Second, HashMemoryKiB: 19456, HashTime: 2, PerMemberAndDoor: 20, PerSource: 50, IdleTimeout: 32 * time.Minute,
			DrainTimeout: 30 * time.Second, APIPerMember: 1200, APIPerSource: 6000,
		},
	}
}

// Path is the file that the configuration was read from.
func (c *Config) Path() string { return c.path }
