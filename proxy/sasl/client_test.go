package sasl_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"

	"latchkey/authcore/secret"
	"latchkey/proxy/sasl"
	"latchkey/proxy/wire"
)

func TestMessages(t *testing.T) {
	plain := func(authzid, authcid, password string) func() (*sasl.Exchange, error) {
		return func() (*sasl.Exchange, error) { return sasl.PlainExchange(authzid, authcid, secret.New(password)) }
	}
	bearer := func(user, token, host, port string) func() (*sasl.Exchange, error) {
		return func() (*sasl.Exchange, error) { return sasl.BearerExchange(user, secret.New(token), host, port) }
	}
	for name, c := range map[string]struct {
		make func() (*sasl.Exchange, error)
		want string // empty: an error
	}{
		"PLAIN":                    {plain("", "ann@new.example", "pw"), "\x00ann@new.example\x00pw"},
		"PLAIN, master":            {plain("ann@new.example", "door", "pw"), "ann@new.example\x00door\x00pw"},
		"PLAIN, CR LF is data":     {plain("ann", "door", "p\r\nw"), "ann\x00door\x00p\r\nw"},
		"PLAIN, NUL in identity":   {plain("ann\x00bob", "door", "pw"), ""},
		"PLAIN, NUL in secret":     {plain("", "ann", "p\x00w"), ""},
		"PLAIN, no name":           {plain("ann", "", "pw"), ""},
		"PLAIN, no secret":         {plain("", "ann", ""), ""},
		"OAUTHBEARER":              {bearer("ann@new.example", "e.y.J", "mail.example", "993"), "n,a=ann@new.example,\x01host=mail.example\x01port=993\x01auth=Bearer e.y.J\x01\x01"},
		"OAUTHBEARER, no host":     {bearer("ann@new.example", "e.y.J", "", ""), "n,a=ann@new.example,\x01auth=Bearer e.y.J\x01\x01"},
		"OAUTHBEARER, odd name":    {bearer("a=b,c", "e.y.J", "", ""), "n,a=a=3Db=2Cc,\x01auth=Bearer e.y.J\x01\x01"},
		"OAUTHBEARER, separator":   {bearer("ann\x01auth=Bearer x", "e.y.J", "", ""), ""},
		"OAUTHBEARER, in token":    {bearer("ann", "e\x01a", "", ""), ""},
		"OAUTHBEARER, in host":     {bearer("ann", "e", "h\x01", ""), ""},
		"OAUTHBEARER, no name":     {bearer("", "e", "", ""), ""},
		"OAUTHBEARER, no token":    {bearer("ann", "", "", ""), ""},
		"OAUTHBEARER, NUL in name": {bearer("ann\x00", "e", "", ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := c.make()
			if err != nil || c.want == "" {
				if (err == nil) != (c.want != "") {
					t.Errorf("error %v, want one: %t", err, c.want == "")
				}
				return
			}
			got, err := base64.StdEncoding.DecodeString(e.Initial().Reveal())
			if err != nil || string(got) != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestWithoutInitialResponse(t *testing.T) {
	e, err := sasl.PlainExchange("", "ann", secret.New("pw"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Next(""); err != nil || got.Reveal() != b64("\x00ann\x00pw") {
		t.Errorf("Next = %q, %v", got.Reveal(), err)
	}
	if got, err := e.Next(""); err == nil {
		t.Errorf("a second challenge was answered with %q", got.Reveal())
	}
}

func TestChallengeBeforeTheMessage(t *testing.T) {
	e, err := sasl.PlainExchange("", "ann", secret.New("pw"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Next(b64("tell me")); err == nil {
		t.Errorf("a challenge that is not empty was answered with %q", got.Reveal())
	}
}

func TestBearerErrorIsAnsweredOnce(t *testing.T) {
	e, err := sasl.BearerExchange("ann", secret.New("e.y.J"), "", "")
	if err != nil {
		t.Fatal(err)
	}
	e.Initial()
	if got, err := e.Next(b64(`{"status":"invalid_token"}`)); err != nil || got.Reveal() != "AQ==" {
		t.Errorf("Next = %q, %v; want %q", got.Reveal(), err, "AQ==")
	}
	if got, err := e.Next(""); err == nil {
		t.Errorf("a second challenge was answered with %q", got.Reveal())
	}
}

func TestExchangeDoesNotPrint(t *testing.T) {
	e, err := sasl.PlainExchange("", "ann", secret.New("geheim"))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, e); strings.Contains(s, "geheim") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}

func TestEndpoint(t *testing.T) {
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	c := wire.New(ours, wire.Options{})
	defer func() { _ = c.Close() }()
	if host, port := sasl.Endpoint(c); host != "" || port != "" {
		t.Errorf("Endpoint of a pipe = %q, %q; want nothing", host, port)
	}
}
