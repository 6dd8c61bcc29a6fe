package autoconfig

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	"github.com/smallstep/pkcs7"
	"howett.net/plist"

	"latchkey/authcore/secret"
	"latchkey/policy"
)

// A Profile is what an Apple configuration profile is made of (Apple Platform Deployment, "Configuration Profile Reference").
type Profile struct {
	Organization string // who gives it: the domain
	Address      string
	Name         string // of the member; empty: none
	Password     secret.String
	Signer       *Signer // nil: it is not signed, and devices say so
}

// A Signer signs profiles, so that devices show who gave them.
type Signer struct {
	Chain []*x509.Certificate // the leaf first
	Key   crypto.PrivateKey
}

// AppleType is the media type of a profile.
const AppleType = "application/x-apple-aspen-config"

type payload map[string]any

// Apple is the profile with an account for each door that Apple's programs know.
func (l Services) Apple(p Profile) ([]byte, error) {
	var content []payload
	if in, ok := l.For(policy.IMAP); ok {
		if out, ok := l.For(policy.SMTP); ok {
			content = append(content, p.mail(in, out))
		}
	}
	if s, ok := l.For(policy.CalDAV); ok {
		content = append(content, p.dav("com.apple.caldav.account", "CalDAV", "Calendar", s))
	}
	if s, ok := l.For(policy.CardDAV); ok {
		content = append(content, p.dav("com.apple.carddav.account", "CardDAV", "Contacts", s))
	}
	whole := p.payload("Configuration", "account", p.Organization)
	whole["PayloadContent"], whole["PayloadRemovalDisallowed"], whole["PayloadOrganization"] = content, false, p.Organization
	b, err := plist.MarshalIndent(whole, plist.XMLFormat, "\t")
	if err != nil || p.Signer == nil {
		return b, err
	}
	return p.Signer.sign(b)
}

func (p Profile) payload(kind, id, name string) payload {
	return payload{
		"PayloadType": kind, "PayloadVersion": 1, "PayloadIdentifier": p.Organization + ".latchkey." + id, "PayloadUUID": uuid(), "PayloadDisplayName": name,
	}
}

func (p Profile) mail(in, out Service) payload {
	m := p.payload("com.apple.mail.managed", "mail", "Mail")
	m["EmailAccountDescription"], m["EmailAccountType"], m["EmailAddress"] = p.Organization, "EmailTypeIMAP", p.Address
	if p.Name != "" {
		m["EmailAccountName"] = p.Name
	}
	for side, s := range map[string]Service{"Incoming": in, "Outgoing": out} {
		m[side+"MailServerAuthentication"], m[side+"MailServerHostName"], m[side+"MailServerPortNumber"] = "EmailAuthPassword", s.Host, s.Port
		m[side+"MailServerUseSSL"], m[side+"MailServerUsername"] = true, p.Address // with STARTTLS too: the port tells
		if !p.Password.Empty() {
			m[side+"Password"] = p.Password.Reveal()
		}
	}
	return m
}

func (p Profile) dav(kind, prefix, name string, s Service) payload {
	m := p.payload(kind, name, name)
	m[prefix+"AccountDescription"], m[prefix+"HostName"], m[prefix+"Port"] = p.Organization, s.Host, s.Port
	m[prefix+"UseSSL"], m[prefix+"Username"] = true, p.Address
	if s.Path != "" {
		m[prefix+"PrincipalURL"] = s.Path
	}
	if !p.Password.Empty() {
		m[prefix+"Password"] = p.Password.Reveal()
	}
	return m
}

// uuid is a random one (RFC 9562 section 5.4).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// sign wraps a profile in CMS (RFC 5652 section 5).
func (s *Signer) sign(b []byte) ([]byte, error) {
	d, err := pkcs7.NewSignedData(b)
	if err != nil {
		return nil, fmt.Errorf("sign the profile: %w", err)
	}
	d.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := d.AddSignerChain(s.Chain[0], s.Key, s.Chain[1:], pkcs7.SignerInfoConfig{}); err != nil {
		return nil, fmt.Errorf("sign the profile: %w", err)
	}
	return d.Finish()
}
