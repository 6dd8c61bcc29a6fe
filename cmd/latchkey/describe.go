package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
)

// description is what -describe writes: everything that a program needs to use the demo.
type description struct {
	CA       string            `json:"ca"`
	API      string            `json:"api"`
	Ops      string            `json:"ops"`
	Outbox   string            `json:"-"` // on the private listener: what was sent by e-mail and SMS, codes too
	Doors    map[string]string `json:"doors"`
	People   []person          `json:"people"`
	Operator operator          `json:"operator"`
}

type person struct {
	Address         string        `json:"address"`
	Domain          string        `json:"domain"`
	Role            member.Role   `json:"role"`
	State           string        `json:"state"`
	AccountPassword string        `json:"account_password"`
	AppPasswords    []appPassword `json:"app_passwords"`
}

type appPassword struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Password string `json:"password"`
}

type operator struct {
	Address  string `json:"address"`
	Password string `json:"password"`
	Token    string `json:"token"`
}

func (d *demoHouse) description() description {
	port := func(name string) string {
		_, p, _ := splitAddress(d.socks[name].Addr().String())
		return p
	}
	o := description{
		CA: filepath.Join(d.dir, "ca.pem"), API: "https://localhost:" + port("api"), Ops: "http://" + d.socks[opsSocket].Addr().String(),
		Doors: map[string]string{"dav": "https://localhost:" + port("dav")}, People: people(d.people),
	}
	o.Outbox = o.Ops + demoOutboxPath
	for _, l := range demoPorts {
		if l.name != "dav" && l.name != "api" {
			o.Doors[l.name] = d.socks[l.name].Addr().String()
		}
	}
	for _, p := range d.people {
		if p.Role == member.RoleOperator {
			o.Operator = operator{Address: p.Address, Password: p.Account.Reveal(), Token: d.token.Reveal()}
		}
	}
	return o
}

func people(l []sample.Person) (out []person) {
	for _, p := range l {
		q := person{Address: p.Address, Domain: p.Domain, Role: p.Role, State: p.State, AccountPassword: p.Account.Reveal(), AppPasswords: []appPassword{}}
		for _, a := range p.AppPasswords {
			q.AppPasswords = append(q.AppPasswords, appPassword{ID: a.ID, Name: a.Name, Password: a.Secret.Reveal()})
		}
		out = append(out, q)
	}
	return out
}

// describe writes the description by rename, readable by its owner alone.
func (d *demoHouse) describe(path string) error {
	p, err := json.MarshalIndent(d.description(), "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(path, append(p, '\n'), 0o600); err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	return nil
}

// peopleFile keeps the demo's passwords beside its data, for the next start with the same folder.
const peopleFile = "people.json"

func (d *demoHouse) keepPeople() error {
	p, err := json.Marshal(people(d.people))
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(d.dir, peopleFile), p, 0o600)
}

func (d *demoHouse) foundPeople() error {
	p, err := os.ReadFile(filepath.Join(d.dir, peopleFile))
	if err != nil {
		return fmt.Errorf("the folder was used before, but says nothing of its people (empty it and start again): %w", err)
	}
	var l []person
	if err := json.Unmarshal(p, &l); err != nil {
		return errors.New(filepath.Join(d.dir, peopleFile) + " is no list of people")
	}
	for _, q := range l {
		s := sample.Person{Address: q.Address, Domain: q.Domain, Role: q.Role, State: q.State, Account: secret.New(q.AccountPassword)}
		for _, a := range q.AppPasswords {
			s.AppPasswords = append(s.AppPasswords, sample.AppPassword{ID: a.ID, Name: a.Name, Secret: secret.New(a.Password)})
		}
		d.people = append(d.people, s)
	}
	return nil
}

// print says what to type into a mail program, and lines to paste into a shell.
func (d *demoHouse) print(w io.Writer) {
	o := d.description()
	fmt.Fprint(w, "\nLatchkey demo. Everything runs on this machine alone; stop it with Ctrl-C.\n\n")
	d.printPages(w, o)
	fmt.Fprint(w, "\nServers, for a program like Thunderbird (server name: localhost, or 127.0.0.1):\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	row := func(what, name, security string) {
		_, port, _ := splitAddress(o.Doors[name])
		fmt.Fprintf(t, "  %s\tport %s\t%s\n", what, port, security)
	}
	row("IMAP", "imaps", "SSL/TLS, normal password")
	row("IMAP", "imap", "STARTTLS, normal password")
	row("SMTP", "submissions", "SSL/TLS, normal password")
	row("SMTP", "submission", "STARTTLS, normal password")
	row("POP3", "pop3s", "SSL/TLS, normal password")
	row("POP3", "pop3", "STARTTLS, normal password")
	fmt.Fprintf(t, "  CalDAV, CardDAV\t%s/\n  API\t%s/api/v1\n  Health, metrics\t%s\n  What was sent\t%s\n", o.Doors["dav"], o.API, o.Ops, o.Outbox)
	_ = t.Flush()
	fmt.Fprintf(w, "\nThe certificate is signed by a throw-away authority: import %s or accept the warning.\n\nPeople:\n\n", o.CA)
	t = tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "  USER NAME\tAT THE DOORS\tON THE WEB\tNOTE")
	for _, p := range o.People {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", p.Address, atDoors(p), p.AccountPassword, notes[p.State])
	}
	_ = t.Flush()
	d.printCurl(w, o)
}

// printPages says whom to sign in as, and with what, to see the pages of each role.
func (d *demoHouse) printPages(w io.Writer, o description) {
	fmt.Fprintf(w, "In a browser: %s/ (accept the warning of the certificate, or see below)\n\n", o.API)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, role := range []struct{ state, sees string }{{"account", "as a member"}, {"admin", "as an administrator"}, {"operator", "as the operator"}} {
		for _, p := range o.People {
			if p.State == role.state {
				fmt.Fprintf(t, "  %s\t%s\t%s\n", role.sees, p.Address, p.AccountPassword)
			}
		}
	}
	_ = t.Flush()
}

// notes say of each state what to expect.
var notes = map[string]string{
	"app-only":  "the domain takes app passwords only",
	"account":   "account password; can switch to app passwords",
	"opted-in":  "chose app passwords",
	"two-step":  "two-step on: app passwords at the doors",
	"suspended": "nothing works until an administrator lifts it",
	"expired":   "must set a new password on the web first",
	"admin":     "administrator of old.example",
	"operator":  "operator; makes an app password on the web first",
}

func atDoors(p person) string {
	switch {
	case len(p.AppPasswords) > 0:
		return p.AppPasswords[0].Password
	case p.State == "account" || p.State == "admin":
		return "the password on the right"
	default:
		return "none"
	}
}

func (d *demoHouse) printCurl(w io.Writer, o description) {
	app := o.People[0]
	pass := app.AppPasswords[0].Password
	fmt.Fprintf(w, `
To try it in a shell:

  curl --cacert %[1]s --user '%[2]s:%[3]s' 'imaps://%[4]s/INBOX;MAILINDEX=1'
  printf 'Subject: Hello\r\n\r\nThrough the door.\r\n' | curl --cacert %[1]s --user '%[2]s:%[3]s' \
      --mail-from %[2]s --mail-rcpt account@%[8]s --upload-file - smtps://%[5]s
  curl --cacert %[1]s --user '%[2]s:%[3]s' -X PROPFIND -H 'Depth: 1' %[6]s/%[2]s/calendars/
  curl --cacert %[1]s -H 'Content-Type: application/json' -d '{"login":"%[2]s","password":"%[9]s"}' %[7]s/api/v1/sign-in

`, o.CA, app.Address, pass, o.Doors["imaps"], o.Doors["submissions"], o.Doors["dav"], o.API, sample.Old, app.AccountPassword)
}
