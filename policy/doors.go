package policy

// The doors, by the names that configuration, API, audit and metrics use.
const (
	IMAP    = "imap"
	SMTP    = "smtp" // submission
	POP3    = "pop3"
	CalDAV  = "caldav"
	CardDAV = "carddav"
)

// Doors lists all of them in a fixed order.
func Doors() []string { return []string{IMAP, SMTP, POP3, CalDAV, CardDAV} }
