package notify

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/url"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"latchkey/authcore/secret"
)

// postbox is a real SMTP server that keeps what it takes.
type postbox struct {
	refuse *smtp.SMTPError
	got    chan string
}

func (p *postbox) NewSession(*smtp.Conn) (smtp.Session, error) { return p, nil }
func (p *postbox) Mail(string, *smtp.MailOptions) error        { return nil }
func (p *postbox) Rcpt(string, *smtp.RcptOptions) error {
	if p.refuse != nil {
		return p.refuse
	}
	return nil
}
func (p *postbox) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	p.got <- string(b)
	return err
}
func (p *postbox) Reset()        {}
func (p *postbox) Logout() error { return nil }

func (p *postbox) sender(t *testing.T) *Email {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.got = make(chan string, 1)
	s := smtp.NewServer(p)
	s.EnableSMTPUTF8 = true
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	e, err := NewEmail(EmailOptions{Address: ln.Addr().String(), Mode: NoTLS, From: "Example <no-reply@example.org>", Hostname: "mail.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEmailArrives(t *testing.T) {
	p := &postbox{}
	e := p.sender(t)
	m := Event{Kind: PasswordChanged, At: noon, From: "192.0.2.1", Address: "ann@example.org"}.Message("ja")
	o := Outgoing{ID: "1abc", Time: noon, Kind: m.Kind, To: "jürgen@example.org", Subject: m.Subject, Text: m.Text, Attempt: 2}
	if err := e.Send(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	msg, err := mail.ReadMessage(strings.NewReader(<-p.got))
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		"Message-Id": "<1abc@mail.example.org>", "Auto-Submitted": "auto-generated", "X-Latchkey-Attempt": "2", "Date": "Mon, 04 May 2026 12:00:00 +0000",
	} {
		if got := msg.Header.Get(header); got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
	if ct := msg.Header.Get("Content-Type"); !strings.Contains(ct, "UTF-8") {
		t.Errorf("Content-Type %q", ct)
	}
}

func TestEmailRefusals(t *testing.T) {
	for _, c := range []struct {
		name    string
		reply   *smtp.SMTPError
		refused bool
	}{
		{"for good", &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "canary ann@example.org"}, true},
		{"for now", &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "canary"}, false},
	} {
		e := (&postbox{refuse: c.reply}).sender(t)
		err := e.Send(t.Context(), Outgoing{ID: "1", Time: noon, To: "ann@example.org", Subject: "s", Text: "t"})
		if err == nil || errors.Is(err, ErrRefused) != c.refused || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// The requests of two well-known gateways, as docs/operators.md shows them.
func TestGatewayRecipes(t *testing.T) {
	text := "482913 は\"認証番号\"です & = + %"
	for _, c := range []struct {
		name string
		o    SMSOptions
		want func(r *http.Request, body string) bool
	}{
		{"Twilio", SMSOptions{Format: FormBody, Body: "From=%2B15005550006&To={{.To}}&Body={{.Text}}", Auth: BasicAuth, User: "AC0", Secret: secret.New("hush")},
			func(r *http.Request, body string) bool {
				v, err := url.ParseQuery(body)
				u, p, _ := r.BasicAuth()
				return err == nil && v.Get("To") == "+819012345678" && v.Get("Body") == text && v.Get("From") == "+15005550006" && u == "AC0" && p == "hush" && len(v) == 3
			}},
		{"Vonage", SMSOptions{Format: JSONBody, Body: `{"channel":"sms","message_type":"text","from":"Example","to":"{{.Digits}}","text":"{{.Text}}"}`,
			Auth: BasicAuth, User: "abcd1234", Secret: secret.New("hush"), SignSecret: secret.New("sign")},
			func(r *http.Request, body string) bool {
				var v map[string]string
				err := json.Unmarshal([]byte(body), &v)
				u, p, _ := r.BasicAuth()
				return err == nil && v["to"] == "819012345678" && v["text"] == text && len(v) == 5 && u == "abcd1234" && p == "hush" &&
					strings.HasPrefix(r.Header.Get(DefaultSignHeader), "t=")
			}},
	} {
		ok := false
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			ok = c.want(r, string(b)) && r.Header.Get("Idempotency-Key") == "1abc"
			w.WriteHeader(http.StatusAccepted)
		}))
		c.o.URL = s.URL
		g, err := NewSMS(c.o)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if err := g.Send(t.Context(), Outgoing{ID: "1abc", To: "+819012345678", Text: text, Attempt: 1}); err != nil || !ok {
			t.Errorf("%s: %v, the request was right: %v", c.name, err, ok)
		}
		s.Close()
	}
}

func TestGatewayAnswers(t *testing.T) {
	key := secret.New("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32)))
	for _, c := range []struct {
		name         string
		status       int
		fails, bears bool // bears: the message is at fault
	}{{"fine", 204, false, false}, {"broken", 500, true, false}, {"a redirect", 307, true, false}, {"refused", 400, true, true}, {"limited", 429, true, false}} {
		asked := 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			if c.status != 204 {
				_, _ = w.Write(make([]byte, 1<<20))
			}
		}))
		h, err := NewHook(HookOptions{URL: s.URL, Secret: key})
		if err != nil {
			t.Fatal(err)
		}
		err = h.Send(t.Context(), Outgoing{ID: "1", Text: "{}"})
		if (err != nil) != c.fails || errors.Is(err, ErrRefused) != c.bears || asked != 1 {
			t.Errorf("%s: %v, asked %d times", c.name, err, asked)
		}
		s.Close()
	}
}

// The example of the specification's own libraries: what a receiver computes is what is sent.
func TestWebhookSignature(t *testing.T) {
	h, err := NewHook(HookOptions{URL: "https://hook.example/", Secret: secret.New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")})
	if err != nil {
		t.Fatal(err)
	}
	if got := h.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", `{"test": 2432232314}`); got != "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("got %s", got)
	}
}

// Whatever a text holds, it stays one value of the form and of the JSON.
func FuzzGatewayBody(f *testing.F) {
	for _, s := range []string{"a&To=+1", `","to":"+1`, "\x00\n\u2028", "{{.To}}", "%zz"} {
		f.Add(s)
	}
	form, err := NewSMS(SMSOptions{URL: "https://g.example/?t={{.Text}}", Format: FormBody, Body: "To={{.To}}&Body={{.Text}}"})
	if err != nil {
		f.Fatal(err)
	}
	object, err := NewSMS(SMSOptions{URL: "https://g.example/", Format: JSONBody, Body: `{"to":"{{.To}}","text":"{{.Text}}"}`})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o := Outgoing{ID: "1", To: "+819012345678", Text: text}
		r, body, err := form.request(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		v, err := url.ParseQuery(string(body))
		if err != nil || len(v) != 2 || v.Get("Body") != text || v.Get("To") != o.To || r.URL.Query().Get("t") != text || r.URL.Host != "g.example" {
			t.Fatalf("%q: %q", text, body)
		}
		_, body, err = object.request(t.Context(), o)
		var m map[string]string
		if err != nil || json.Unmarshal(body, &m) != nil || len(m) != 2 || m["to"] != o.To || m["text"] != strings.ToValidUTF8(text, "") && m["text"] != string([]rune(text)) {
			t.Fatalf("%q: %q", text, body)
		}
	})
}
