package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/proxy/peers"
)

// An administrator's pages in a browser: members one by one and by file, doors, live sessions, the audit, API tokens, DNS
// records, two who change the same rules; and an operator's domains.

func TestPeersConsoleAdministrator(t *testing.T) {
	t.Parallel()
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, false, walkAdministrator)
}

func TestDrillConsoleAdministrator(t *testing.T) {
	if !drillsAreLong() {
		t.Parallel()
	}
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, true, walkAdministrator)
}

func walkAdministrator(t *testing.T, how manner) {
	w := newWalk(t, startDemo(t), how)
	w.signIn(w.person("admin"))
	w.on("Security")
	w.members()
	w.oneMember()
	w.imports()
	w.doorsOfDomain()
	w.liveSessions()
	w.audit()
	w.tokens()
	w.left("DNS records")
	w.b.See(t, "_imaps._tcp")
	w.twoAtOnce(how)
	w.signOut()
	w.operator()
}

func (w *walk) members() {
	w.t.Helper()
	w.left("Members")
	w.picture("members")
	w.b.Fill(w.t, "Part of an address or a name", "nobody-like-that")
	w.b.Press(w.t, "Search")
	w.says("Members", "Nobody was found.")
	w.b.Fill(w.t, "Part of an address or a name", "account")
	w.b.Press(w.t, "Search")
	w.b.See(w.t, "account@old.example")
	w.on("Members")
}

// oneMember does all that is done on the page of one member.
func (w *walk) oneMember() {
	w.t.Helper()
	const who = "account@old.example"
	w.b.Follow(w.t, who)
	w.on(who)
	w.picture("member")
	for _, deed := range []struct{ link, asks, button, says string }{
		{"Suspend", "Suspend " + who + "?", "Suspend", "The member is suspended and signed out of everything."},
		{"Sign out everywhere", "Sign " + who + " out everywhere?", "Sign out everywhere", "The member is signed out everywhere."},
	} {
		w.b.Follow(w.t, deed.link)
		w.on(deed.asks)
		w.b.Press(w.t, deed.button)
		w.says(who, deed.says)
	}
	w.b.Press(w.t, "Remove suspension")
	w.says(who, "The suspension is removed.")
	w.b.Follow(w.t, "Reset the password")
	w.on("Reset the password of " + who + "?")
	w.b.Press(w.t, "Reset the password")
	w.on("The password is reset")
	w.secret(temporaryShape)
	w.b.Follow(w.t, "Back to the member")
	w.on(who)
	w.b.Select(w.t, "Login with LINE", "Do not approve")
	w.b.Press(w.t, "Save the ways to sign in")
	w.says(who, "Saved.")
	w.b.Follow(w.t, "Delete")
	w.on("Delete " + who + "?")
	w.b.Press(w.t, "Delete")
	w.b.See(w.t, "The member is deleted.")
	w.look()
}

// imports checks a file with a mistake in it, mends it, and imports it.
func (w *walk) imports() {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "people.csv")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.b.Follow(w.t, "Members") // above the member's name
	w.on("Members")
	w.b.Follow(w.t, "Import")
	w.on("Import members")
	write("address,name\nsora@old.example,Sora\nno address at all,Ren\n")
	w.b.Attach(w.t, "File", file)
	w.b.Press(w.t, "Check")
	w.says("Import members", "Checked: nothing was imported yet", "To be mended: 1.")
	write("address,name\nsora@old.example,Sora\nren@old.example,Ren\n")
	w.b.Attach(w.t, "File", file)
	w.b.Press(w.t, "Import")
	w.says("Import members", "Created: 2.", "ren@old.example")
	w.secret(temporaryShape)
	w.picture("import")
}

// doorsOfDomain closes a door and opens it again.
func (w *walk) doorsOfDomain() {
	w.t.Helper()
	w.left("Doors")
	w.picture("doors")
	w.b.Follow(w.t, "Close POP3")
	w.on("Close POP3 for old.example?")
	w.b.Press(w.t, "Close")
	w.says("Doors", "The door is closed.")
	w.b.Press(w.t, "Open POP3")
	w.says("Doors", "Open")
}

// liveSessions sees a program that is connected, and ends that.
func (w *walk) liveSessions() {
	w.t.Helper()
	address, app := w.d.app(w.t, "opted-in")
	k, answer, err := door{"imap", w.d.Doors.IMAPS, w.d.CA}.enter(w.d.tls, address, app)
	if err != nil {
		w.t.Fatal(answer, err)
	}
	w.t.Cleanup(func() { _ = k.Close() })
	w.left("Sessions")
	w.b.See(w.t, address, "IMAP")
	w.picture("live-sessions")
	w.b.Press(w.t, "End the session of "+address)
	w.says("Sessions", "The session is ended.", "Nobody is signed in.")
	if text, err := io.ReadAll(k.r); err != nil && !strings.Contains(string(text), "BYE") {
		w.t.Errorf("the session says %q, %v", text, err)
	}
}

// audit finds what was done a moment ago, in words and as a picture, and takes it along.
func (w *walk) audit() {
	w.t.Helper()
	w.underSecurity("Audit")
	w.b.Fill(w.t, "Member", "account@old.example")
	w.b.Press(w.t, "Show")
	w.says("Audit", "Member suspended", "account@old.example")
	w.picture("audit")
	if !w.b.Has(w.t, "link", "CSV") || !w.b.Has(w.t, "link", "JSON Lines") {
		w.t.Error("what is selected cannot be exported")
	}
	w.b.Follow(w.t, "The last 30 days")
	w.on("The last 30 days")
	w.picture("audit-picture")
}

// tokens makes one for a program, which comes in with it until it is deleted.
func (w *walk) tokens() {
	w.t.Helper()
	w.underSecurity("API tokens")
	w.b.Fill(w.t, "Name of the program", "Directory sync")
	w.b.Choose(w.t, "Read")
	w.b.Press(w.t, "Create API token")
	w.says("API token created", "It is shown only this once.")
	w.b.Follow(w.t, "Back to the API tokens")
	w.says("API tokens", "Directory sync")
	w.b.Press(w.t, "Delete Directory sync")
	w.says("API tokens", "There is none yet.")
}

// twoAtOnce changes the rules in a page that is older than somebody else's change: he is told, and his choice is kept.
func (w *walk) twoAtOnce(how manner) {
	w.t.Helper()
	w.account()
	other := newWalk(w.t, w.d, how)
	other.rule("Allow", "Login with phone number")
	w.b.Unfold(w.t, "Passkeys")
	w.b.Choose(w.t, "Allow")
	w.b.Press(w.t, "Save")
	w.says("Account Security", "Somebody else saved these settings meanwhile.", "What changed meanwhile", "Saved by admin@old.example", "not saved yet")
	w.picture("account-security-meanwhile")
	w.b.Press(w.t, "Save")
	w.says("Account Security", "Saved.")
}

// operator makes a domain and closes it.
func (w *walk) operator() {
	w.t.Helper()
	w.signIn(w.person("operator"))
	w.on("Security")
	w.left("Domains")
	w.picture("domains")
	w.b.Follow(w.t, "Create domain")
	w.on("Create domain")
	w.b.Fill(w.t, "Name of the mail domain", "brand-new.example")
	w.b.Press(w.t, "Create domain")
	w.on("Members") // of the new one
	w.b.See(w.t, "brand-new.example")
	w.left("Domains")
	w.b.See(w.t, "brand-new.example")
	w.b.Follow(w.t, "Close brand-new.example")
	w.on("Close the domain brand-new.example?")
	w.b.Press(w.t, "Close the domain")
	w.says("Domains", "Closed")
}
