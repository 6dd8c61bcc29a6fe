package autoconfig

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/xml"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"howett.net/plist"

	"latchkey/authcore/secret"
	"latchkey/policy"
)

func services() Services {
	return Services{
		{Door: policy.IMAP, Host: "mail.example.com", Port: 143, StartTLS: true},
		{Door: policy.IMAP, Host: "mail.example.com", Port: 993},
		{Door: policy.SMTP, Host: "mail.example.com", Port: 587, StartTLS: true},
		{Door: policy.POP3, Host: "mail.example.com", Port: 995},
		{Door: policy.CalDAV, Host: "dav.example.com", Port: 443, Path: "/dav/"},
		{Door: policy.CardDAV, Host: "dav.example.com", Port: 8443},
	}
}

func TestFor(t *testing.T) {
	l := services()
	for door, want := range map[string]int{policy.IMAP: 993, policy.SMTP: 587, policy.POP3: 995, policy.CalDAV: 443} {
		if s, ok := l.For(door); !ok || s.Port != want {
			t.Errorf("%s: %+v, %v, want port %d", door, s, ok, want)
		}
	}
	if _, ok := l.Open([]string{policy.SMTP}).For(policy.IMAP); ok {
		t.Error("a closed door is told")
	}
	if got := l[4].URL() + " " + l[5].URL(); got != "https://dav.example.com/dav/ https://dav.example.com:8443/" {
		t.Error(got)
	}
}

func TestThunderbird(t *testing.T) {
	b, err := services().Thunderbird("example.com")
	if err != nil {
		t.Fatal(err)
	}
	var c clientConfig
	if err := xml.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	in, out := c.Provider.Incoming, c.Provider.Outgoing
	if len(in) != 3 || in[0] != (mailServer{"imap", "mail.example.com", 993, "SSL", "password-cleartext", "%EMAILADDRESS%"}) || in[2].Socket != "STARTTLS" || len(out) != 1 ||
		c.Provider.Calendars[0].URL != "https://dav.example.com/dav/" || c.Provider.Contacts[0].URL != "https://dav.example.com:8443/" || c.Provider.ID != "example.com" {
		t.Errorf("%s", b)
	}
}

const question = `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006">
<Request><EMailAddress> jane@example.com </EMailAddress><AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>`

func TestOutlookRequest(t *testing.T) {
	for name, c := range map[string]struct {
		text, address string
		known, bad    bool
	}{
		"mail":           {text: question, address: "jane@example.com", known: true},
		"another schema": {text: strings.Replace(question, "outlook/responseschema/2006a", "mobilesync/responseschema/2006", 1), address: "jane@example.com"},
		"another space":  {text: strings.Replace(question, "requestschema/2006", "requestschema/1999", 1), bad: true},
		"no XML":         {text: "hello", bad: true},
		"too long":       {text: question + strings.Repeat(" ", maxRequest), bad: true},
		"nothing":        {bad: true},
	} {
		address, known, err := OutlookRequest(strings.NewReader(c.text))
		if address != c.address || known != c.known || errors.Is(err, ErrRequest) != c.bad {
			t.Errorf("%s: %q, %v, %v", name, address, known, err)
		}
	}
}

func TestOutlook(t *testing.T) {
	b, err := services().Outlook("jane@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">`,
		`<Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a">`,
		"<Type>IMAP</Type>", "<Port>993</Port>", "<Encryption>TLS</Encryption>", "<LoginName>jane@example.com</LoginName>", "<Action>settings</Action>",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("without %s:\n%s", want, b)
		}
	}
	if strings.Contains(string(b), "143") {
		t.Error("STARTTLS stands where TLS from the first byte is there")
	}
	no, err := OutlookRefusal(601, "Provider is not available")
	if err != nil || !strings.Contains(string(no), "<ErrorCode>601</ErrorCode>") || strings.Contains(string(no), "<Account>") {
		t.Errorf("%v\n%s", err, no)
	}
}

func TestCodes(t *testing.T) {
	code, ok := services().ThunderbirdCode("jane@example.com", "Jane", secret.New("abcd-efgh"))
	want := `[1,[1,1],[0,"mail.example.com",993,3,1,"jane@example.com","","abcd-efgh"],[[[0,"mail.example.com",587,2,1,"jane@example.com","abcd-efgh"],["jane@example.com","Jane"]]]]`
	if !ok || code.Reveal() != want {
		t.Errorf("got  %s\nwant %s", code.Reveal(), want)
	}
	var any []any
	if json.Unmarshal([]byte(code.Reveal()), &any) != nil {
		t.Error("no JSON")
	}
	if _, ok := services().Open([]string{policy.IMAP}).ThunderbirdCode("a@b", "", secret.String{}); ok {
		t.Error("an account without a way out")
	}
	dav, ok := services().DAVx5Code("jane@example.com", secret.New("a/b c"))
	u, err := url.Parse(dav.Reveal())
	pass, _ := u.User.Password()
	if !ok || err != nil || u.Scheme != "davx5" || u.Host != "dav.example.com" || u.Path != "/dav/" || u.User.Username() != "jane@example.com" || pass != "a/b c" {
		t.Errorf("%s", dav.Reveal())
	}
	if _, ok := services().Open([]string{policy.IMAP}).DAVx5Code("a@b", secret.String{}); ok {
		t.Error("no calendar, and yet a code")
	}
}

func TestRecords(t *testing.T) {
	var b strings.Builder
	for _, r := range services().Open([]string{policy.IMAP, policy.POP3, policy.CalDAV, policy.CardDAV}).Records("example.com", "mail.example.com") {
		b.WriteString(r.String() + "\n")
	}
	for _, want := range []string{
		"_imaps._tcp.example.com.\t3600\tIN\tSRV\t0 1 993 mail.example.com.\n", "_imap._tcp.example.com.\t3600\tIN\tSRV\t0 1 143 mail.example.com.\n",
		"_pop3s._tcp.example.com.\t3600\tIN\tSRV\t10 1 995 mail.example.com.\n", "_pop3._tcp.example.com.\t3600\tIN\tSRV\t0 0 0 .\n",
		"_submissions._tcp.example.com.\t3600\tIN\tSRV\t0 0 0 .\n", "_caldavs._tcp.example.com.\t3600\tIN\tTXT\t\"path=/dav/\"\n",
		"_carddavs._tcp.example.com.\t3600\tIN\tSRV\t0 1 8443 dav.example.com.\n", "autodiscover.example.com.\t3600\tIN\tCNAME\tmail.example.com.\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("without %q:\n%s", want, b.String())
		}
	}
}

func signer(t *testing.T) *Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "mail.example.com"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, k, k, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Signer{Chain: []*x509.Certificate{leaf}, Key: key}
}

func TestApple(t *testing.T) {
	p := Profile{Organization: "example.com", Address: "jane@example.com", Name: "Jane", Password: secret.New("abcd-efgh")}
	plain, err := services().Apple(p)
	if err != nil {
		t.Fatal(err)
	}
	var whole struct {
		PayloadType, PayloadUUID string
		PayloadContent           []map[string]any
	}
	if _, err := plist.Unmarshal(plain, &whole); err != nil {
		t.Fatalf("%v\n%s", err, plain)
	}
	if whole.PayloadType != "Configuration" || len(whole.PayloadContent) != 3 || len(whole.PayloadUUID) != 36 {
		t.Fatalf("%+v", whole)
	}
	mail, dav := whole.PayloadContent[0], whole.PayloadContent[1]
	for key, want := range map[string]any{
		"PayloadType": "com.apple.mail.managed", "IncomingMailServerPortNumber": uint64(993), "IncomingMailServerUseSSL": true, "OutgoingPassword": "abcd-efgh",
		"EmailAddress": "jane@example.com", "IncomingMailServerUsername": "jane@example.com", "OutgoingMailServerHostName": "mail.example.com",
	} {
		if mail[key] != want {
			t.Errorf("%s is %#v, want %#v", key, mail[key], want)
		}
	}
	if dav["PayloadType"] != "com.apple.caldav.account" || dav["CalDAVPrincipalURL"] != "/dav/" || dav["CalDAVPassword"] != "abcd-efgh" {
		t.Errorf("%v", dav)
	}
	p.Signer = signer(t)
	signed, err := services().Apple(p)
	if err != nil {
		t.Fatal(err)
	}
	m, err := pkcs7.Parse(signed)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(); err != nil || !strings.Contains(string(m.Content), "com.apple.mail.managed") || m.GetOnlySigner().Subject.CommonName != "mail.example.com" {
		t.Errorf("%v\n%s", err, m.Content)
	}
}

func FuzzOutlookRequest(f *testing.F) {
	f.Add(question)
	f.Add("<Autodiscover/>")
	f.Fuzz(func(t *testing.T, text string) {
		if address, known, err := OutlookRequest(strings.NewReader(text)); err != nil && (address != "" || known) {
			t.Errorf("%q, %v and %v", address, known, err)
		}
	})
}
