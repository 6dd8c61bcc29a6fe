package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/proxy"
)

// Checkup is what Doctor needs to try the sign-ins.
type Checkup struct {
	// Address and ID are those of a member who exists at every upstream. Empty: nobody is signed in, and a finding says so.
	Address string
	ID      string
	// Password is his account password, for upstreams with passthrough. Empty: their sign-in is not tried.
	Password secret.String
	// Outside is a recipient of another domain, named to SMTP upstreams in a RCPT that is taken back: nothing is sent.
	// Empty: nobody@example.com.
	Outside string
}

// Level says how bad a Finding is.
type Level string

// The levels. With a Failure members cannot work, or somebody could do what he must not.
const (
	Warning Level = "warning"
	Failure Level = "error"
)

// Finding is something to mend.
type Finding struct {
	Level    Level
	Upstream string
	What     string
	Mend     string
}

// When a certificate's end, or a clock, is worth a word.
const (
	renewBefore = 14 * 24 * time.Hour
	// A token begins 5 s before it is signed and ends 60 s after: a clock further behind or ahead refuses it.
	tokenBehind = 5 * time.Second
	tokenAhead  = 60 * time.Second
	clockDrift  = 30 * time.Second // for others, whose logs and locks suffer
)

// Doctor dials every upstream, signs the member in, and tries what must not work. It answers what it found, upstream by
// upstream in the order of the configuration; nothing found is health.
func (p *Pool) Doctor(ctx context.Context, c Checkup) []Finding {
	patients := make([]patient, len(p.names))
	var rounds sync.WaitGroup
	for i, name := range p.names {
		patients[i] = patient{pool: p, s: p.servers[name], c: c}
		rounds.Go(func() { patients[i].examine(ctx) })
	}
	rounds.Wait()
	var all []Finding
	for i := range patients {
		all = append(all, patients[i].findings...)
		all = append(all, patients[i].lacks(patients)...)
	}
	return all
}

// patient is one upstream under examination. One goroutine owns it.
type patient struct {
	pool     *Pool
	s        *server
	c        Checkup
	report   Report
	reached  bool
	findings []Finding
}

func (t *patient) find(level Level, what, mend string) {
	t.findings = append(t.findings, Finding{Level: level, Upstream: t.s.Name, What: what, Mend: mend})
}

func (t *patient) examine(ctx context.Context) {
	t.settings()
	as := t.member()
	if t.look(ctx, as) {
		t.reached = true
		t.certificate()
		t.clock()
	}
	if !t.reached || as == nil {
		return
	}
	if t.s.usesToken() {
		t.wrongTokens(ctx, *as)
	}
	if t.s.Protocol == SMTP {
		t.tookHold(ctx, *as)
	}
}

// settings looks at what is allowed and unwise.
func (t *patient) settings() {
	if t.s.TLS.Insecure {
		t.find(Warning, "its certificate is not verified (tls.insecure)", "name its CA in tls.ca_file and leave insecure out")
	}
	if t.s.exposed() {
		t.find(Failure, "passwords, tokens and mail go to another host in the clear (tls.mode none)", "set tls.mode to tls or starttls")
	}
	for _, from := range t.s.sources.all {
		if err := usable(from); err != nil {
			t.find(Failure, fmt.Sprintf("source_addresses: %s cannot be used: %v", from, err), "give the host this address, or leave it out")
		}
	}
}

// member answers who is signed in; nil: nobody.
func (t *patient) member() *authcore.Upstream {
	if t.c.Address == "" {
		t.find(Warning, "no sign-in was tried", "name a member for doctor to sign in")
		return nil
	}
	if t.s.Way == proxy.Passthrough && t.c.Password.Empty() {
		t.find(Warning, "no sign-in was tried: the way is passthrough", "give doctor the member's account password")
		return nil
	}
	return &authcore.Upstream{Name: t.s.Name, User: t.s.userFor(t.c.Address, t.c.ID), Password: t.c.Password}
}

// visit bounds one conversation.
func (t *patient) visit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, t.pool.o.ProbeTimeout)
}

// look examines every address, and keeps the report of one that is well.
func (t *patient) look(ctx context.Context, as *authcore.Upstream) (well bool) {
	ctx, cancel := t.visit(ctx)
	defer cancel()
	for _, a := range t.s.addresses {
		r, err := t.pool.look(ctx, t.pool.only(t.s, a), as)
		if err == nil {
			t.report, well = r, true
			continue
		}
		what := reason(err)
		if len(t.s.addresses) > 1 {
			what = "address " + a.at + ": " + what
		}
		t.find(Failure, what, t.mend(err))
	}
	return well
}

// reason is what went wrong, without the name of the upstream, which a Finding has.
func reason(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%s: %v", e.Step, e.Err)
	}
	return err.Error()
}

// mend says what an operator can do about err.
func (t *patient) mend(err error) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var plain tls.RecordHeaderError
	var e *Error
	switch {
	case errors.As(err, &unknown):
		return "name the CA that signed its certificate in tls.ca_file"
	case errors.As(err, &host):
		return "set tls.server_name to a name that the certificate holds"
	case errors.As(err, &invalid):
		return "renew its certificate"
	case errors.As(err, &plain):
		return "it does not speak TLS at that port: use its TLS port, or tls.mode starttls"
	case errors.Is(err, ErrUnauthenticate):
		return "Dovecot: imap_capability = without UNAUTHENTICATE; Cyrus: suppress_capabilities: UNAUTHENTICATE"
	case !errors.As(err, &e):
		return "see what the upstream's log says"
	}
	return t.mendStep(e.Step)
}

func (t *patient) mendStep(step Step) string {
	switch step {
	case StepConnect:
		return "start it, or correct its addresses; look for a firewall between"
	case StepSignIn:
		return t.mendSignIn()
	case StepToken:
		return "see that the signing keys are there: latchkey keys list"
	case StepGreeting, StepCapabilities:
		return "see that the protocol and tls.mode fit the port, and that PROXY protocol is expected on both sides or on none"
	}
	return "see what the upstream's log says"
}

func (t *patient) mendSignIn() string {
	switch t.s.Way {
	case proxy.Master:
		return "see that the master user and its secret are those of the upstream, and that the member exists there"
	case proxy.Token, Basic, Bearer:
		return "see that the upstream has the current public key, this issuer and this audience, that its clock is right, and that the member exists there"
	case proxy.XCLIENT:
		return "Postfix: smtpd_sasl_auth_enable=yes with a SASL socket, and this host in smtpd_authorized_xclient_hosts"
	case Header:
		return "see that the upstream trusts this header, and that the member exists there"
	}
	return "see that the member and his password exist there"
}

func (t *patient) certificate() {
	end := t.report.CertificateExpires
	if left := time.Until(end); !end.IsZero() && left < renewBefore {
		level := Warning
		if left < 0 {
			level = Failure
		}
		t.find(level, "its certificate ends on "+end.UTC().Format(time.DateOnly), "renew it")
	}
}

func (t *patient) clock() {
	if !t.report.Clocked {
		return
	}
	ahead := t.report.Ahead
	mend := "keep the clocks of both hosts by NTP"
	switch {
	case t.s.usesToken() && (ahead < -tokenBehind || ahead > tokenAhead):
		t.find(Failure, fmt.Sprintf("its clock is off by %v: tokens do not hold", ahead), mend)
	case ahead.Abs() > clockDrift:
		t.find(Warning, fmt.Sprintf("its clock is off by %v", ahead), mend)
	}
}

// wrongTokens signs in with tokens that are meant for another upstream, or come from another issuer.
func (t *patient) wrongTokens(ctx context.Context, as authcore.Upstream) {
	for _, wrong := range []struct {
		what string
		mend string
		make func(*TokenSettings)
	}{
		{"audience", "Dovecot: set client_id in the oauth2 settings to this audience", func(s *TokenSettings) { s.Audience += ".wrong" }},
		{"issuer", "Dovecot: set issuers in the oauth2 settings", func(s *TokenSettings) { s.Issuer += ".wrong" }},
	} {
		settings := t.s.Server
		wrong.make(&settings.Token)
		if t.letsIn(ctx, settings, as) {
			t.find(Failure, "accepts a token with a wrong "+wrong.what+": one that another upstream got would do here", wrong.mend)
		}
	}
}

// letsIn says whether the upstream lets the member in when it is addressed with other settings.
func (t *patient) letsIn(ctx context.Context, settings Server, as authcore.Upstream) bool {
	ctx, cancel := t.visit(ctx)
	defer cancel()
	s := &server{Server: settings, tls: t.s.tls, addresses: t.s.addresses, sources: t.s.sources, timeout: t.s.timeout, log: t.s.log}
	if s.Protocol == HTTPProtocol {
		s.http = newHTTP(t.pool, s)
	}
	_, err := t.pool.look(ctx, s, &as)
	return err == nil
}

// tookHold proves that an SMTP upstream takes the member for signed in: it lets him send to the outside. Postfix with
// smtpd_sasl_auth_enable=no, and Dovecot, accept XCLIENT LOGIN and ignore it.
func (t *patient) tookHold(ctx context.Context, as authcore.Upstream) {
	ctx, cancel := t.visit(ctx)
	defer cancel()
	err := t.trySending(ctx, as)
	var refused *smtp.SMTPError
	switch {
	case err == nil:
	case errors.As(err, &refused) && slices.Contains([]int{530, 550, 551, 553, 554}, refused.Code):
		t.find(Failure, fmt.Sprintf("lets the member in, but not send: %d", refused.Code), t.mendSending())
	case errors.As(err, &refused):
		t.find(Warning, fmt.Sprintf("could not prove that the member may send: %d", refused.Code), "see what the upstream's log says")
	default:
		t.find(Warning, "could not prove that the member may send: "+reason(err), "see what the upstream's log says")
	}
}

func (t *patient) mendSending() string {
	if t.s.Way == proxy.XCLIENT {
		return "XCLIENT LOGIN did not take hold: Postfix needs smtpd_sasl_auth_enable=yes with a SASL socket, and " +
			"permit_sasl_authenticated in smtpd_relay_restrictions; other servers need another way"
	}
	return "see that signed-in members may send: Postfix: permit_sasl_authenticated in smtpd_relay_restrictions"
}

func (t *patient) trySending(ctx context.Context, as authcore.Upstream) error {
	in, err := t.pool.signIn(t.s, as)
	if err != nil {
		return err
	}
	c, err := t.s.call(ctx)
	if err != nil {
		return err
	}
	defer c.hangUp()
	client, err := t.pool.lookSMTP(ctx, c, &in, &Report{})
	if err != nil {
		return err
	}
	if err := client.Mail(t.c.Address, nil); err != nil {
		return err
	}
	if err := client.Rcpt(t.outside(), nil); err != nil {
		return err
	}
	if err := client.Reset(); err != nil {
		return err
	}
	_ = client.Quit() // a courtesy
	return nil
}

func (t *patient) outside() string {
	if t.c.Outside == "" {
		return "nobody@example.com" // RFC 2606 section 3
	}
	return t.c.Outside
}

// lacks compares with the other upstreams of the protocol: what one of them lacks, a door that leads to all of them
// cannot offer.
func (t *patient) lacks(all []patient) []Finding {
	if !t.reached {
		return nil
	}
	mine := names(t.report.offered())
	var missing []string
	for i := range all {
		o := &all[i]
		if !o.reached || o.s.Protocol != t.s.Protocol {
			continue
		}
		for _, c := range names(o.report.offered()) {
			if !slices.Contains(mine, c) {
				missing = append(missing, c)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return []Finding{{
		Level: Warning, Upstream: t.s.Name,
		What: "lacks what others of its protocol offer: " + strings.Join(sorted(missing), ", "),
		Mend: "bring them to one version and configuration, or let no listener lead to both: there it is offered to nobody",
	}}
}

// names leaves the parameters out: limits may differ.
func names(caps []string) []string {
	var all []string
	for _, c := range caps {
		word, _, _ := strings.Cut(c, " ")
		all = append(all, word)
	}
	return all
}
