package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
	"latchkey/policy/api"
)

// rightsOfTheRest go through every other route that asks who one is. Pages of one's own are tried with the ids of somebody
// else, whatever his rights: they are nobody's but his.
func rightsOfTheRest() []rightsRow {
	const own, others = 200, 404
	row := func(route, form string, status int) rightsRow {
		return rightsRow{route, form, status, status, status, status}
	}
	return []rightsRow{
		{"GET /domains/{domain}/account-security", "", 403, 200, 404, 200},
		{"POST /domains/{domain}/account-security", "sign_in.quick=deny", 403, 412, 404, 412}, // no revision
		{"POST /domains/{domain}/account-security", "password.min_length=9&step=confirmed&revision={revision}", 403, 303, 404, 303},
		{"GET /domains/{domain}/audit", "", 403, 200, 404, 200},
		{"GET /domains/{domain}/audit/export?format=csv", "", 403, 200, 404, 200},
		{"GET /domains/{domain}/audit/export?format=jsonl", "", 403, 200, 404, 200},
		{"GET /domains/{domain}/audit/picture", "", 403, 200, 404, 200},
		{"GET /audit", "", 403, 403, 403, 200},
		{"GET /audit/export?format=csv", "", 403, 403, 403, 200},
		{"GET /domains/{domain}/dns", "", 403, 200, 404, 200},
		{"GET /api-tokens", "", 403, 200, 200, 200},
		{"POST /api-tokens", "once=0123456789abcdef&name=x&scope=write&ends=30", 403, 200, 200, 200},
		{"POST /api-tokens", "once=0123456789abcdef&name=x&scope=read&ends=30&domains=*", 403, 422, 422, 200},
		{"POST /api-tokens", "once=0123456789abcdef&name=x&scope=read&ends=30&domains=old.example", 403, 200, 422, 200},
		row("POST /api-tokens/{id}/delete", "", others),

		row("GET /security", "", own),
		row("GET /security/activity", "", own),
		row("GET /security/app-passwords", "", own),
		row("GET /security/app-passwords/new", "", own),
		row("POST /security/app-passwords/new", "name=x", 422), // no value of a form
		row("GET /security/app-passwords/{id}/delete", "", others),
		row("POST /security/app-passwords/{id}/delete", "", others),
		{"GET /security/app-passwords/option", "", 200, 200, 409, 409},
		{"POST /security/app-passwords/option", "use=on", 303, 303, 409, 409},
		row("GET /security/password", "", own),
		row("POST /security/password", "current=wrong&new_password=Tangerine-42-window&again=Tangerine-42-window", 422),
		row("GET /security/sessions", "", own),
		row("POST /security/sessions/{id}/end", "", others),
		row("GET /security/sessions/end-all", "", own),
		row("POST /security/sessions/end-all", "", 303),
		row("POST /security/sessions/end-others", "", 303),
		row("GET /security/two-step", "", own),
		row("POST /security/two-step", "do=none", 404),
		row("GET /security/two-step/app", "", own),
		row("POST /security/two-step/app", "do=confirm&code=000000", 422),
		row("GET /security/two-step/recovery-codes", "", own),
		row("POST /security/two-step/recovery-codes", "do=make&once=1", 422), // no value that a page made
		row("GET /security/two-step/browsers", "", own),
		row("POST /security/two-step/browsers", "do=forget&id={id}", others),
		row("GET /contacts", "", own),
		row("POST /contacts", "do=remove&id={id}", others),
		row("GET /contacts/add", "", own),
		row("GET /contacts/add?replaces={id}", "", others),
		row("POST /contacts/add", "do=add&value=none", 422),
		row("POST /contacts/add?replaces={id}", "do=add&value=fresh@home.example", others),
		row("GET /contacts/{id}", "", 303), // gone
		row("POST /contacts/{id}", "do=send", 303),
		row("POST /contacts/{id}", "do=verify&code=000000", 303),
		row("GET /security/links", "", own),
		row("POST /security/links", "do=disconnect&provider=line", others),
		row("GET /security/phone", "", own),
		row("POST /security/phone", "do=disconnect", others),
		row("GET /security/phone/number", "", 303), // none was sent
		row("POST /security/phone/number", "do=connect&code=000000", 303),
		row("GET /security/passkeys", "", own),
		row("POST /security/passkeys", "do=delete&id={id}", others),
		row("GET /security/quick", "", own),
		row("POST /security/quick", "do=delete&id={id}", others),
		row("GET /notifications", "", own),
		row("POST /notifications/{id}/read", "read=yes", others),
		row("POST /notifications/{id}/delete", "", others),
		row("GET /programs", "", own),
		row("GET /programs/{kind}", "", others), // there are no programs here
		row("POST /programs/{kind}", "once=0123456789abcdef", others),
		row("POST /programs/apple/profile", "once=0123456789abcdef", others),
		row("GET /reauthenticate", "", own),
		row("POST /reauthenticate", "password=wrong", 401),
		row("GET /reauthenticate/passkey", "", own),
		row("POST /reauthenticate/phone", "", 403),
		row("POST /reauthenticate/{provider}/begin", "", 404),
	}
}

func allRights() []rightsRow { return append(rightsOfPeople(), rightsOfTheRest()...) }

// pattern is the route without a query.
func (r rightsRow) pattern() string { p, _, _ := strings.Cut(r.route, "?"); return p }

// openRoutes ask nobody who he is, or a ticket of a sign-in that goes on.
func openRoutes() []string {
	return []string{
		"GET /{$}", "POST /sign-out", "GET /language", "POST /language", "POST /password/rules",
		"GET /sign-in", "POST /sign-in", "POST /sign-in/ways",
		"GET /sign-in/two-step", "POST /sign-in/two-step", "POST /sign-in/two-step/method", "GET /sign-in/two-step/passkey", "POST /sign-in/two-step/passkey",
		"GET /sign-in/password", "POST /sign-in/password",
		"GET /sign-in/enrolment", "POST /sign-in/enrolment", "POST /sign-in/enrolment/contact", "POST /sign-in/enrolment/app", "POST /sign-in/enrolment/again",
		"GET /sign-in/phone", "POST /sign-in/phone", "GET /sign-in/phone/code", "POST /sign-in/phone/code", "POST /sign-in/phone/message",
		"GET /sign-in/passkey", "POST /sign-in/passkey", "POST /sign-in/{provider}/begin", "GET /sign-in/{provider}/callback",
		"GET /forgotten-password", "POST /forgotten-password", "GET /forgotten-password/code", "POST /forgotten-password/code",
		"GET /forgotten-password/new", "POST /forgotten-password/new", "GET /forgotten-address", "POST /forgotten-address",
		"GET /mail/config-v1.1.xml", "GET /.well-known/autoconfig/mail/config-v1.1.xml", "POST /autodiscover/autodiscover.xml",
		"POST /Autodiscover/Autodiscover.xml", "POST /AutoDiscover/AutoDiscover.xml", "/.well-known/caldav", "/.well-known/carddav",
		"GET /.well-known/security.txt", "GET /.well-known/change-password", "GET /robots.txt", "GET /favicon.ico",
	}
}

// Every page that is registered is in a table of rights or is open on purpose, and no table names one that is not there.
func TestMatrixNamesEveryPage(t *testing.T) {
	t.Parallel()
	core := authtest.New(t, nil)
	var pages []string
	api.New(api.Options{Core: core.Core}, Register(Options{}), func(k *api.Kit) { pages = k.Pages() })
	pages = slices.DeleteFunc(pages, func(p string) bool { return strings.HasPrefix(p, "GET /assets/") })
	named := openRoutes()
	for _, r := range allRights() {
		named = append(named, r.pattern())
	}
	for _, p := range pages {
		if !slices.Contains(named, p) {
			t.Errorf("%s is in no table", p)
		}
	}
	for _, p := range named {
		if !slices.Contains(pages, p) {
			t.Errorf("%s is no page", p)
		}
	}
	if len(pages) < 100 {
		t.Errorf("%d pages", len(pages))
	}
}

// matrixStage is a stage that counts what is written, with somebody of the old domain whose things others reach for.
type matrixStage struct {
	*stage
	ids map[string]string // by a piece of the path: what {id} is there

	mu      sync.Mutex
	written []string // names of records; guarded by mu
}

const matrixTarget = "target@" + sample.Old

func openMatrix(t *testing.T) *matrixStage {
	t.Helper()
	m := &matrixStage{}
	m.stage = open(t, Options{}, func(o *authcore.Options) {
		o.Records = &storetest.Faulty{Records: memory.NewRecords(memory.Options{}), OnApply: m.write}
	})
	ctx, by := t.Context(), authtest.Operator()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	role, word := member.RoleAdministrator, secret.New("Tangerine-42-window")
	_, _, err := m.CreateMember(ctx, by, sample.Old, authcore.NewMember{Address: matrixTarget, Password: word, Role: role, Contacts: []member.Contact{{Kind: member.Email, Value: "target@home.example"}}})
	must(err)
	_, err = m.UpdateMember(ctx, by, "app-only@new.example", authcore.MemberChange{Role: &role}, 0)
	must(err)
	app, _, err := m.CreateAppPasswordFor(ctx, by, matrixTarget, apppass.Wish{Name: "Phone"})
	must(err)
	in, err := m.SignIn(ctx, authtest.Client(), matrixTarget, word)
	must(err)
	token, _, err := m.CreateAPIToken(ctx, in.Actor, authcore.TokenWish{Name: "x", Scopes: []session.Scope{session.Read}, ExpiresAt: m.clock.now().Add(time.Hour)})
	must(err)
	mails, _, err := m.Messages(ctx, in.Actor, "", 1)
	must(err)
	me, err := m.MyTwoStep(ctx, in.Actor)
	must(err)
	role = member.RoleMember
	_, err = m.UpdateMember(ctx, by, matrixTarget, authcore.MemberChange{Role: &role}, 0)
	must(err)
	m.ids = map[string]string{"/security/sessions/": string(in.Actor.Session), "/api-tokens/": string(token.ID), "/notifications/": firstMessage(mails), "/contacts": me.Contacts[0].ContactID()}
	m.ids["/app-passwords/"] = app.ID
	return m
}

func firstMessage(l []notify.Message) string {
	if len(l) == 0 {
		return "none"
	}
	return l[0].ID
}

func (m *matrixStage) write(_ string, ops []store.Op) storetest.Fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, op := range ops {
		m.written = append(m.written, op.Name)
	}
	return storetest.NoFault
}

// since answers what was written since it was asked before.
func (m *matrixStage) since() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.written
	m.written = nil
	return l
}

// ask sends the request of a row about that member, and answers its first status and where it leads.
func (m *matrixStage) ask(b *browser, r rightsRow, about string) (status int, to string) {
	b.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	method, path, _ := strings.Cut(r.route, " ")
	id := "none"
	for piece, v := range m.ids {
		if strings.Contains(path, piece) {
			id = v
		}
	}
	_, revision, err := m.Policy(m.t.Context(), authtest.Operator(), sample.Old)
	if err != nil {
		m.t.Fatal(err)
	}
	fill := strings.NewReplacer("{revision}", strconv.FormatInt(revision, 10), "{domain}", sample.Old, "{address}", about, "{id}", id, "{door}", "pop3", "{kind}", "other", "{provider}", "line")
	form, err := url.ParseQuery(fill.Replace(r.form))
	if err != nil {
		m.t.Fatal(err)
	}
	if method == http.MethodGet {
		form = nil
	}
	p := b.send(method, fill.Replace(path), form)
	return p.status, p.header.Get("Location")
}

// Nobody without a session passes, whatever he shows: not even who had one.
func TestMatrixOfStrangers(t *testing.T) {
	t.Parallel()
	m := openMatrix(t)
	ctx, by := t.Context(), authtest.Operator()
	signIn := func(name string) (secret.String, authcore.Actor) {
		m.make(name, member.RoleAdministrator)
		word, _, err := m.ResetPassword(ctx, by, name+"@old.example", false)
		if err != nil {
			t.Fatal(err)
		}
		first, err := m.SignIn(ctx, authtest.Client(), name+"@old.example", word)
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.SignInPassword(ctx, authtest.Client(), first.Ticket, secret.New("Tangerine-42-window"))
		if err != nil || r.State != authcore.SignedIn {
			t.Fatal(r.State, err)
		}
		return r.Token, r.Actor
	}
	shown := map[string]secret.String{"one that never was": secret.New("none")}
	for name, end := range map[string]func(authcore.Actor) error{
		"ended":   func(a authcore.Actor) error { return m.SignOut(ctx, a) },
		"stopped": func(a authcore.Actor) error { _, err := m.Suspend(ctx, by, a.Address); return err },
		"deleted": func(a authcore.Actor) error { return m.DeleteMember(ctx, by, a.Address) },
		"reset":   func(a authcore.Actor) error { _, _, err := m.ResetPassword(ctx, by, a.Address, true); return err },
	} {
		token, a := signIn(name)
		if err := end(a); err != nil {
			t.Fatal(err)
		}
		shown[name] = token
	}
	_, a := signIn("keeper")
	_, token, err := m.CreateAPIToken(ctx, a, authcore.TokenWish{Name: "x", Scopes: []session.Scope{session.Read, session.Write}, ExpiresAt: m.clock.now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	shown["an API token"] = token
	m.since()
	for name, token := range shown {
		for _, r := range allRights() {
			if status, to := m.ask(m.holding(token), r, matrixTarget); status != http.StatusSeeOther || !strings.HasPrefix(to, "/sign-in?") {
				t.Errorf("%s: %s: %d to %q", name, r.route, status, to)
			}
		}
	}
	for _, r := range allRights() {
		if status, to := m.ask(m.browser(), r, matrixTarget); status != http.StatusSeeOther || !strings.HasPrefix(to, "/sign-in?") {
			t.Errorf("nobody: %s: %d to %q", r.route, status, to)
		}
	}
	if l := changed(m.since()); len(l) > 0 {
		t.Errorf("who may do nothing changed %v", l)
	}
}

// changed leaves out what says when a session or a token was used last.
func changed(l []string) []string {
	return slices.DeleteFunc(l, func(name string) bool { return strings.HasPrefix(name, "web/") })
}

// What is refused to whoever is signed in changes nothing. An administrator may do nothing at all to an operator of his
// domain.
func TestMatrixOfRefusals(t *testing.T) {
	t.Parallel()
	m := openMatrix(t)
	who := map[string]*browser{"member": m.signedIn("account"), "administrator": m.signedIn("admin"), "other": m.signedIn("app-only"), "operator": m.signedIn("operator")}
	m.since()
	refused := 0
	for _, r := range allRights() {
		for name, want := range map[string]int{"member": r.member, "administrator": r.admin, "other": r.other, "operator": r.operator} {
			if want < 400 || r.pattern() == "POST /reauthenticate" { // a wrong password is the tests' of signing in
				continue
			}
			refused++
			if status, _ := m.ask(who[name], r, matrixTarget); status != want {
				t.Errorf("%s: %s %s: %d, want %d", name, r.route, r.form, status, want)
			}
			if l := changed(m.since()); len(l) > 0 && r.pattern() != "POST /security/password" { // a wrong one is counted
				t.Errorf("%s: %s %s changed %v", name, r.route, r.form, l)
			}
		}
		if strings.Contains(r.route, "{address}") {
			if status, _ := m.ask(who["other"], r, "operator@new.example"); status != http.StatusForbidden {
				t.Errorf("an administrator on an operator: %s: %d", r.route, status)
			}
			if l := changed(m.since()); len(l) > 0 {
				t.Errorf("an administrator on an operator: %s changed %v", r.route, l)
			}
		}
	}
	if refused < 200 {
		t.Errorf("%d refusals", refused)
	}
}

// What is one's own is there, and others' is not.
func TestMatrixOfOnesOwn(t *testing.T) {
	t.Parallel()
	for _, r := range rightsOfTheRest() {
		t.Run(strings.ReplaceAll(r.route+" "+r.form, "/", " "), func(t *testing.T) {
			t.Parallel()
			m := openMatrix(t)
			for state, want := range map[string]int{"account": r.member, "admin": r.admin, "app-only": r.other, "operator": r.operator} {
				if want >= 400 || r.pattern() == "POST /domains/{domain}/account-security" && state == "operator" {
					continue
				}
				if status, to := m.ask(m.signedIn(state), r, matrixTarget); status != want || strings.HasPrefix(to, "/sign-in?") {
					t.Errorf("%s: %d to %q, want %d", state, status, to, want)
				}
			}
		})
	}
}
