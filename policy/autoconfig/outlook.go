package autoconfig

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"latchkey/policy"
)

// Outlook's autodiscover by plain old XML ([MS-OXDSCLI]): a program posts an address and reads where the servers are.
// Latchkey speaks no Exchange, so only the schema for mail servers is answered.
const (
	requestSchema  = "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"
	responseSchema = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
	outerSchema    = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
)

type outlookRequest struct {
	XMLName xml.Name `xml:"Autodiscover"`
	Request struct {
		Address string `xml:"EMailAddress"`
		Schema  string `xml:"AcceptableResponseSchema"`
	} `xml:"Request"`
}

type outlookAnswer struct {
	XMLName  xml.Name        `xml:"Autodiscover"`
	Space    string          `xml:"xmlns,attr"`
	Response outlookResponse `xml:"Response"`
}

type outlookResponse struct {
	Space   string          `xml:"xmlns,attr,omitempty"`
	Account *outlookAccount `xml:"Account"`
	Error   *outlookError   `xml:"Error"`
}

type outlookAccount struct {
	Type      string            `xml:"AccountType"`
	Action    string            `xml:"Action"`
	Protocols []outlookProtocol `xml:"Protocol"`
}

type outlookProtocol struct {
	Type           string `xml:"Type"`
	Server         string `xml:"Server"`
	Port           int    `xml:"Port"`
	LoginName      string `xml:"LoginName"`
	DomainRequired string `xml:"DomainRequired"`
	SPA            string `xml:"SPA"`
	SSL            string `xml:"SSL"`
	Encryption     string `xml:"Encryption"` // wins over SSL where it is known
	AuthRequired   string `xml:"AuthRequired"`
}

type outlookError struct {
	Code    int    `xml:"ErrorCode"`
	Message string `xml:"Message"`
}

// ErrRequest says that what a program posted is no request of autodiscover.
var ErrRequest = errors.New("this is no autodiscover request")

// maxRequest bounds one: an address and the name of a schema.
const maxRequest = 16 << 10

// OutlookRequest reads the address that a program asks for, and whether it takes the answer that there is.
func OutlookRequest(r io.Reader) (address string, known bool, err error) {
	b, err := io.ReadAll(io.LimitReader(r, maxRequest+1))
	if err != nil || len(b) > maxRequest {
		return "", false, ErrRequest
	}
	var q outlookRequest
	if xml.Unmarshal(b, &q) != nil || q.XMLName.Space != requestSchema {
		return "", false, ErrRequest
	}
	return strings.TrimSpace(q.Request.Address), strings.TrimSpace(q.Request.Schema) == responseSchema, nil
}

// Outlook is the answer for an address.
func (l Services) Outlook(address string) ([]byte, error) {
	a := &outlookAccount{Type: "email", Action: "settings"}
	for _, s := range l.best(policy.IMAP, policy.POP3, policy.SMTP) {
		p := outlookProtocol{
			Type: strings.ToUpper(s.Door), Server: s.Host, Port: s.Port, LoginName: address,
			DomainRequired: "off", SPA: "off", SSL: "on", Encryption: "SSL", AuthRequired: "on",
		}
		if s.StartTLS {
			p.Encryption = "TLS"
		}
		a.Protocols = append(a.Protocols, p)
	}
	return document(outlookAnswer{Space: outerSchema, Response: outlookResponse{Space: responseSchema, Account: a}})
}

// OutlookRefusal says that the provider is not available: 600 for a bad request, 601 for a schema that is not spoken here.
func OutlookRefusal(code int, message string) ([]byte, error) {
	return document(outlookAnswer{Space: outerSchema, Response: outlookResponse{Error: &outlookError{code, message}}})
}
