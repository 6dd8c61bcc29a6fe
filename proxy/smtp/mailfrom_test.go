package smtp

import (
	"strings"
	"testing"
)

func TestMail(t *testing.T) {
	const (
		passes = ""
		bad    = replyBadMail
		others = replyNotYours
	)
	for name, c := range map[string]struct{ args, want string }{
		"own":                        {"FROM:<a@new.example>", passes},
		"alias":                      {"FROM:<alias@new.example>", passes},
		"letter case":                {"from:<A@NEW.Example>", passes},
		"null":                       {"FROM:<>", passes},
		"null with parameters":       {"FROM:<> RET=HDRS", passes},
		"quoted":                     {`FROM:<"a"@new.example>`, passes},
		"quoted with an escape":      {`FROM:<"\a"@new.example>`, passes},
		"source route":               {"FROM:<@one.example,@[192.0.2.1]:a@new.example>", passes},
		"U-label":                    {"FROM:<e@b\u00fccher.example> SMTPUTF8", passes},
		"A-label":                    {"FROM:<E@xn--bcher-kva.example>", passes},
		"UTF-8 local part":           {"FROM:<J\u00d6rg@new.example> SMTPUTF8", passes},
		"dots and plus":              {"FROM:<first.last+x@new.example>", passes},
		"quoted blank":               {`FROM:<"john doe"@new.example> AUTH=<>`, others},
		"parameters":                 {"FROM:<a@new.example> SIZE=1 BODY=8BITMIME RET=FULL ENVID=x+2By AUTH=e+3Dmc2@x HOLDFOR=60", passes},
		"value with =":               {"FROM:<a@new.example> X=a=b", passes},
		"blanks":                     {"FROM:<a@new.example>  SIZE=1  ", passes},
		"another":                    {"FROM:<b@new.example>", others},
		"another domain":             {"FROM:<a@other.example>", others},
		"subdomain":                  {"FROM:<a@x.new.example>", others},
		"tag":                        {"FROM:<a+x@new.example>", others},
		"own as a route":             {"FROM:<@new.example:b@new.example>", others},
		"own in the local part":      {`FROM:<"a@new.example"@other.example>`, others},
		"other in the local part":    {`FROM:<"b@other.example"@new.example>`, others},
		"quoted >":                   {`FROM:<"a@new.example> x"@other.example>`, others},
		"literal":                    {"FROM:<a@[192.0.2.1]>", others},
		"IPv6 literal":               {"FROM:<a@[IPv6:2001:db8::1]>", others},
		"no path":                    {"FROM:", bad},
		"nothing":                    {"", bad},
		"no brackets":                {"FROM:a@new.example", bad},
		"blank after colon":          {"FROM: <a@new.example>", passes},
		"another after a blank":      {"FROM:  <b@new.example>", others},
		"blank before colon":         {"FROM :<a@new.example>", bad},
		"two paths":                  {"FROM:<a@new.example><b@new.example>", bad},
		"text behind":                {"FROM:<a@new.example>x", bad},
		"no domain":                  {"FROM:<a>", bad},
		"empty domain":               {"FROM:<a@>", bad},
		"empty local part":           {"FROM:<@new.example>", bad},
		"empty quotes":               {`FROM:<""@new.example>`, bad},
		"blanks inside":              {"FROM:< a@new.example>", bad},
		"blank before >":             {"FROM:<a@new.example >", bad},
		"two @":                      {"FROM:<a@new.example@other.example>", bad},
		"percent hack keeps its @":   {"FROM:<a%other.example@new.example>", others},
		"comma list":                 {"FROM:<a@new.example,b@new.example>", bad},
		"comment":                    {"FROM:<a(b)@new.example>", bad},
		"display name":               {"FROM:A <a@new.example>", bad},
		"open quotes":                {`FROM:<"a@new.example>`, bad},
		"escaped closing quote":      {`FROM:<"a\"@new.example>`, bad},
		"text behind quotes":         {`FROM:<"a"b@new.example>`, bad},
		"dot first":                  {"FROM:<.a@new.example>", bad},
		"dot last":                   {"FROM:<a.@new.example>", bad},
		"two dots":                   {"FROM:<a..b@new.example>", bad},
		"final dot of the domain":    {"FROM:<a@new.example.>", bad},
		"hyphen first":               {"FROM:<a@-new.example>", bad},
		"underscore":                 {"FROM:<a@new_.example>", bad},
		"open literal":               {"FROM:<a@[192.0.2.1>", bad},
		"text behind a literal":      {"FROM:<a@[192.0.2.1]x>", bad},
		"open route":                 {"FROM:<@one.example>", bad},
		"route without @":            {"FROM:<one.example:a@new.example>", bad},
		"route without comma":        {"FROM:<@one.example@two.example:a@new.example>", bad},
		"route with comma last":      {"FROM:<@one.example,:a@new.example>", bad},
		"broken UTF-8":               {"FROM:<\xff@new.example>", bad},
		"broken UTF-8 in quotes":     {"FROM:<\"\xc3\"@new.example>", bad},
		"broken UTF-8 in parameters": {"FROM:<a@new.example> X=\xff", bad},
		"empty value":                {"FROM:<a@new.example> SIZE=", bad},
		"empty keyword":              {"FROM:<a@new.example> =1", bad},
		"keyword with a bracket":     {"FROM:<a@new.example> <b@new.example>", bad},
		"long local part":            {"FROM:<" + strings.Repeat("a", 65) + "@new.example>", bad},
		"long domain":                {"FROM:<a@" + strings.Repeat("a.", 127) + "xx>", bad},
		"RCPT's word":                {"TO:<a@new.example>", bad},
	} {
		t.Run(name, func(t *testing.T) {
			s := &splitter{own: []string{
				"a@new.example", "alias@new.example", "e@xn--bcher-kva.example", "j\u00f6rg@new.example", "first.last+x@new.example",
			}}
			if got := s.judgeMail(verdict{}, c.args); got.refusal != c.want {
				t.Errorf("MAIL %s: got %q, want %q", c.args, got.refusal, c.want)
			}
		})
	}
}

func TestNobodyOwnsNothing(t *testing.T) {
	s := &splitter{}
	if got := s.judgeMail(verdict{}, "FROM:<a@new.example>"); got.refusal != replyNotYours {
		t.Errorf("without addresses: got %q", got.refusal)
	}
}
