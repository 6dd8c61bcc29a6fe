package peers

import "testing"

// Each real client works with each real server directly, over every kind of connection, and sees the same twice.

func TestPeersClients(t *testing.T) {
	t.Parallel()
	d := Dovecot(t, DovecotOptions{TLS: true})
	open := Dovecot(t, DovecotOptions{})
	r := Radicale(t)
	jane := func(addr string, s Security) Endpoint {
		return Endpoint{Addr: addr, Security: s, CA: d.CA, User: "jane@new.example", Password: UserPassword}
	}
	t.Run("imap", func(t *testing.T) { Same(t, IMAPClients(), jane(open.IMAP, Plain), jane(open.IMAP, Plain)) })
	t.Run("imap over TLS", func(t *testing.T) { Same(t, IMAPClients(), jane(d.IMAP, StartTLS), jane(d.IMAPS, TLS)) })
	t.Run("pop3", func(t *testing.T) { Same(t, POP3Clients(open), jane(open.POP3, Plain), jane(open.POP3, Plain)) })
	t.Run("pop3 over TLS", func(t *testing.T) { Same(t, POP3Clients(d), jane(d.POP3, StartTLS), jane(d.POP3S, TLS)) })
	t.Run("smtp", func(t *testing.T) {
		Same(t, SMTPClients(open.Relayed), jane(open.Submission, Plain), jane(open.Submission, Plain))
	})
	t.Run("smtp over TLS", func(t *testing.T) {
		Same(t, SMTPClients(d.Relayed), jane(d.Submission, StartTLS), jane(d.Submissions, TLS))
	})
	t.Run("dav", func(t *testing.T) { Same(t, DAVClients(), jane(r.Direct, Plain), jane(r.Direct, Plain)) })
}
