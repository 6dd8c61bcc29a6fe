// Package peers starts real servers (Dovecot, Postfix, Radicale, an OpenID provider) and runs real clients (curl, mbsync,
// msmtp, mpop, swaks, vdirsyncer, Python's modules, Chromium) for tests. Transparency is shown by difference: the same client, or the
// same transcript, runs directly against the server and through a door, and what it saw must be equal (Same).
//
//	d := peers.Dovecot(t, peers.DovecotOptions{})
//	direct := peers.Endpoint{Addr: d.IMAP, User: "jane@new.example", Password: peers.UserPassword}
//	door := peers.Endpoint{Addr: …, Security: peers.TLS, CA: …, User: direct.User, Password: appPassword}
//	peers.Same(t, peers.IMAPScenarios(), direct, door)
//	peers.Same(t, peers.IMAPClients(), direct, door)
//
// Everything is on loopback and free ports, in a folder of its own, and ends with the test. No service of the system is
// started or touched. The servers' configurations are those of configs/examples, with test values put in.
//
// It knows protocols and nothing of Latchkey's code, and only tests may import it. A test that starts a real server or
// client is named TestPeers…; what it needs and the machine lacks skips it by name, and fails it when CI=true.
package peers
