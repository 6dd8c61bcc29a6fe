package peers

import (
	"embed"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// IMAPClients are real programs at an IMAP endpoint.
func IMAPClients() []Scenario {
	return []Scenario{{"curl", curlIMAP}, {"mbsync", mbsync}, {"imaplib", python("imap.py")}}
}

// POP3Clients are real programs at a POP3 endpoint of the server.
func POP3Clients(d *DovecotServer) []Scenario {
	poplib := func(t testing.TB, e Endpoint) []string {
		t.Helper()
		d.fillForPOP3(t, e.User)
		return python("pop.py")(t, e)
	}
	return []Scenario{{"curl", curlPOP3(d)}, {"mpop", mpop(d)}, {"poplib", poplib}}
}

// SMTPClients are real programs at a submission endpoint behind which the sink is.
func SMTPClients(sink *Sink) []Scenario {
	smtplib := func(t testing.TB, e Endpoint) []string {
		t.Helper()
		s := byClient(t, e, sink)
		s.notes = python("smtp.py")(t, e)
		s.sent("{}", "smtplib@elsewhere.example") // nobody was refused
		return s.notes
	}
	return []Scenario{{"curl", curlSMTP(sink)}, {"msmtp", msmtp(sink)}, {"swaks", swaks(sink)}, {"smtplib", smtplib}}
}

// DAVClients are real programs at a CalDAV and CardDAV endpoint. vdirsyncer cannot set a header: directly it needs RadicaleServer.Direct.
func DAVClients() []Scenario {
	return []Scenario{{"curl", curlDAV}, {"vdirsyncer", vdirsyncer}}
}

// byClient notes what a program sends, which has a connection of its own.
func byClient(t testing.TB, e Endpoint, sink *Sink) *smtpSession {
	return &smtpSession{rawConn: &rawConn{t: t}, user: e.User, sink: sink}
}

// sent notes what arrived, once the notes have the line by which the program tells that it was accepted.
func (s *smtpSession) sent(proof, recipient string) {
	s.t.Helper()
	if !slices.Contains(s.notes, proof) {
		s.t.Fatalf("the message is not accepted, by\n%s", strings.Join(s.notes, "\n"))
	}
	s.arrives("250 ", recipient)
}

// fillForPOP3 puts two messages into the INBOX and nothing else.
func (d *DovecotServer) fillForPOP3(t testing.TB, user string) {
	t.Helper()
	d.Empty(t, user)
	d.Deliver(t, user, string(letter("first", "text")))
	d.Deliver(t, user, string(letter("second", ".\r\n..\r\n"+string(blob(100_000)))))
}

//go:embed scripts/*.py
var scripts embed.FS

// python runs a script of ours, on Python's own modules.
func python(script string) func(testing.TB, Endpoint) []string {
	return func(t testing.TB, e Endpoint) []string {
		t.Helper()
		c := newClient(t, "python3")
		for _, name := range []string{"endpoint.py", script} {
			b, err := scripts.ReadFile("scripts/" + name)
			if err != nil {
				t.Fatal(err)
			}
			c.file(name, string(b))
		}
		host, port := e.hostPort(t)
		c.env = append(c.env, "PEER_HOST="+host, "PEER_PORT="+port, "PEER_USER="+e.User, "PEER_PASSWORD="+e.Password, "PEER_CA="+e.CA,
			"PEER_SECURITY="+map[Security]string{Plain: "plain", StartTLS: "starttls", TLS: "tls"}[e.Security])
		return settled(c.run("python3", filepath.Join(c.dir, script)), e)
	}
}

// mbsync sends a maildir up into a new mailbox, and fetches that into another maildir.
func mbsync(t testing.TB, e Endpoint) []string {
	c := newClient(t, "mbsync")
	s := loginIMAP(t, e, false)
	defer s.fresh("mbsync")()
	host, port := e.hostPort(t)
	conf := fmt.Sprintf("IMAPStore door\nHost %s\nPort %s\nUser %s\nPass %s\nAuthMechs PLAIN\nSSLType %s\n",
		host, port, quote(e.User), quote(e.Password), map[Security]string{Plain: "None", StartTLS: "STARTTLS", TLS: "IMAPS"}[e.Security])
	if e.Security != Plain {
		conf += "CertificateFile " + e.CA + "\n"
	}
	for _, name := range []string{"up", "down"} {
		c.maildir(name)
		conf += fmt.Sprintf("\nMaildirStore %[1]s\nPath %[2]s/\nInbox %[2]s/%[1]s\n\nChannel %[1]s\nFar :door:mbsync\nNear :%[1]s:INBOX\nSync All\nExpunge Both\nSyncState *\n", name, c.dir)
	}
	c.file("up/cur/1:2,S", string(letter("mbsync", "text \u00e9")))
	c.file("up/new/2", string(letter("large", string(blob(1_000_000)))))
	file := c.file("mbsyncrc", conf)
	c.run("mbsync", "-c", file, "up")
	c.run("mbsync", "-c", file, "down")
	c.run("mbsync", "-c", file, "up")
	s.do("SELECT mbsync")
	s.do("FETCH 1:* (UID FLAGS)")
	s.do("UNSELECT")
	return slices.Concat(s.notes, c.messages("up", "X-TUID"), c.messages("down", "X-TUID"))
}

func mpop(d *DovecotServer) func(testing.TB, Endpoint) []string {
	return func(t testing.TB, e Endpoint) []string {
		t.Helper()
		d.fillForPOP3(t, e.User)
		c := newClient(t, "mpop")
		host, port := e.hostPort(t)
		file := c.file("mpoprc", fmt.Sprintf("account default\nhost %s\nport %s\nuser %s\npassword %s\nauth user\n%sdelivery maildir %s\nkeep off\nreceived_header off\nuidls_file %s/uidls\n",
			host, port, e.User, e.Password, e.msmtpTLS(), c.maildir("mail"), c.dir))
		c.run("mpop", "-C", file)
		notes := c.messages("mail")
		again, err := c.try("mpop", "-C", file)
		return append(notes, fmt.Sprintf("again: %v %s", err, strings.Join(settled(again, e), "\n")))
	}
}

// msmtpTLS is how msmtp and mpop are told of it.
func (e Endpoint) msmtpTLS() string {
	if e.Security == Plain {
		return "tls off\n"
	}
	starttls := map[Security]string{StartTLS: "on", TLS: "off"}[e.Security]
	return "tls on\ntls_starttls " + starttls + "\ntls_trust_file " + e.CA + "\n"
}

func msmtp(sink *Sink) func(testing.TB, Endpoint) []string {
	return func(t testing.TB, e Endpoint) []string {
		t.Helper()
		c := newClient(t, "msmtp")
		s := byClient(t, e, sink)
		host, port := e.hostPort(t)
		file := c.file("msmtprc", fmt.Sprintf("account default\nhost %s\nport %s\ndomain client.example\nuser %s\npassword %s\nauth plain\nfrom %s\n%s",
			host, port, e.User, e.Password, e.User, e.msmtpTLS()))
		message := c.file("message", strings.ReplaceAll(smtpLetter(s, "msmtp", ".\r\ntext\r\n"), "\r\n", "\n"))
		for _, to := range []string{"msmtp@elsewhere.example", "no domain"} {
			out, err := c.try("sh", "-c", `exec msmtp -C "$1" "$3" <"$2"`, "sh", file, message, to)
			s.notes = append(s.notes, fmt.Sprintf("msmtp %s: %v", to, err))
			s.notes = append(s.notes, settled(strings.ReplaceAll(out, file, "FILE"), e)...)
		}
		s.sent("msmtp msmtp@elsewhere.example: <nil>", "msmtp@elsewhere.example")
		return s.notes
	}
}

func swaks(sink *Sink) func(testing.TB, Endpoint) []string {
	return func(t testing.TB, e Endpoint) []string {
		t.Helper()
		c := newClient(t, "swaks")
		s := byClient(t, e, sink)
		host, port := e.hostPort(t)
		message := c.file("message", strings.ReplaceAll(smtpLetter(s, "swaks", "text\r\n"), "\r\n", "\n"))
		for _, mechanism := range []string{"PLAIN", "LOGIN"} {
			to := strings.ToLower(mechanism) + "@elsewhere.example"
			args := []string{"--server", host, "--port", port, "--helo", "client.example", "--from", e.User, "--to", to,
				"--auth", mechanism, "--auth-user", e.User, "--auth-password", e.Password, "--data", "@" + message, "--hide-all", "--suppress-data"}
			switch e.Security {
			case StartTLS:
				args = append(args, "--tls", "--tls-verify", "--tls-ca-path", e.CA)
			case TLS:
				args = append(args, "--tls-on-connect", "--tls-verify", "--tls-ca-path", e.CA)
			}
			out, err := c.try("swaks", args...)
			s.notes = append(s.notes, fmt.Sprintf("swaks %s: %v", mechanism, err), out)
			s.sent(fmt.Sprintf("swaks %s: <nil>", mechanism), to)
		}
		return s.notes
	}
}

// vdirsyncer finds the collections, sends a local event and card up, and fetches what is new there.
func vdirsyncer(t testing.TB, e Endpoint) []string {
	c := newClient(t, "vdirsyncer")
	s := newDAVSession(t, e)
	for _, name := range []string{"/cal/", "/people/"} {
		defer s.fresh(name)()
	}
	s.calendar()
	s.do("MKCOL", "/people/", xmlHead+`<mkcol xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav"><set><prop><resourcetype><collection/><A:addressbook/></resourcetype></prop></set></mkcol>`)
	s.do("PUT", "/cal/there.ics", event("there", "from there"))
	s.notes = nil

	scheme, verify := "http", ""
	host, port := e.hostPort(t)
	if e.Security != Plain {
		scheme, verify = "https", fmt.Sprintf("verify = %q\n", e.CA)
	}
	conf := "[general]\nstatus_path = \"" + c.dir + "/status/\"\n"
	for kind, suffix := range map[string]string{"caldav": ".ics", "carddav": ".vcf"} {
		conf += fmt.Sprintf("\n[pair %[1]s]\na = \"%[1]s_local\"\nb = \"%[1]s_remote\"\ncollections = [\"from b\"]\n"+
			"\n[storage %[1]s_local]\ntype = \"filesystem\"\npath = \"%[2]s/%[1]s/\"\nfileext = \"%[3]s\"\n"+
			"\n[storage %[1]s_remote]\ntype = \"%[1]s\"\nurl = \"%[4]s://%[5]s:%[6]s/\"\nusername = %[7]q\npassword = %[8]q\n%[9]s",
			kind, c.dir, suffix, scheme, host, port, e.User, e.Password, verify)
	}
	file := c.file("config", conf)
	c.file("caldav/cal/here.ics", event("here", "from here"))
	c.file("carddav/people/here.vcf", card("here", "From Here"))
	c.run("sh", "-c", `yes | vdirsyncer -c "$1" discover`, "sh", file)
	for range 2 {
		c.run("vdirsyncer", "-c", file, "sync")
	}
	s.do("GET", "/cal/here.ics", "")
	s.do("GET", "/people/here.vcf", "")
	return append(s.notes, c.run("sh", "-c", `cd "$1" && find caldav carddav -type f ! -name '.*' | sort && cat caldav/cal/there.ics`, "sh", c.dir))
}
