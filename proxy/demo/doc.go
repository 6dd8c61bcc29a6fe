// Package demo holds small IMAP, POP3, SMTP submission, CalDAV and CardDAV servers in memory. They stand behind the
// doors in the demonstration and in tests, where people would have Dovecot, Postfix and Radicale.
//
// Mail submitted here goes to the INBOX of every local recipient, found by address or alias, and is seen over IMAP and
// POP3 at once, for both read the same mailbox. A recipient in one of the demo's own domains who does not exist is
// refused with 550. A recipient anywhere else is accepted, and nothing leaves the machine: the sender finds one copy in
// his mailbox "Sent elsewhere", with the addresses it would have gone to in the header field X-Demo-Recipients.
//
// Who may come in is decided by what stands in front. IMAP, POP3 and SMTP take SASL PLAIN with an authorization identity
// from the one master user, OAUTHBEARER if Options.Token is set, and a person's own password if Options.Passthrough is
// set. CalDAV and CardDAV believe the header X-Remote-User. So the listeners belong on loopback, and nobody but the
// proxy may reach them.
//
//	area     kept                                                      not kept
//	IMAP     IMAP4rev1, IDLE, MOVE, UIDPLUS, ESEARCH, SEARCHRES,        CONDSTORE, QRESYNC, SORT, THREAD, ID, QUOTA;
//	         LIST-EXTENDED, LIST-STATUS, NAMESPACE, SPECIAL-USE         an unknown command before login ends it
//	POP3     RFC 1939 with TOP and UIDL, CAPA, SASL, PIPELINING         APOP, STLS, UTF8
//	SMTP     AUTH, SIZE, PIPELINING, 8BITMIME, CHUNKING, SMTPUTF8       DSN, XCLIENT, STARTTLS
//	CalDAV   PROPFIND, calendar-query, calendar-multiget, MKCALENDAR,   sync-collection, PROPPATCH, COPY, MOVE,
//	CardDAV  addressbook-query, addressbook-multiget, MKCOL, ETags      scheduling, locks
//
// It refuses to grow: messages, mailboxes, objects and connections have bounds, each named beside its reason. It keeps
// nothing: when the process ends the mail is gone, and mailboxes get a new UIDVALIDITY at every start so that programs
// notice. One limit comes from the IMAP library: a mailbox is locked while a message is written to a client, so a client
// that stops reading holds up that one mailbox until its write deadline.
package demo
