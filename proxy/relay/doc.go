// Package relay passes octets both ways between a client that has signed in and its upstream, until one of them ends
// the session, nothing moves for too long, or it is cut.
//
// Without a Splitter every octet passes as it comes. With one (SMTP) the splitter sees what has arrived from either
// side and says what becomes of it. It refuses to guess: an Action that makes no sense, and the zero Action, reset the
// upstream, so that it never takes a part of a message for the whole.
//
// Start takes both connections over, read-ahead included, and returns at once. Nobody above may assume that a goroutine
// waits here: an Owner is told of the end, exactly once, and by then both descriptors are closed.
//
// On Linux a session between two descriptors is parked: a shard, one goroutine for many sessions, waits with an epoll of
// its own and moves all octets through its own buffers. A *tls.Conn stays in use, over a descriptor that never waits:
// what crypto/tls has read is drained before every wait, for it causes no event, and the records of a burst leave with
// one write. A long burst between two sides in the clear goes through a pipe (splice), of which nothing is left behind
// in silence. What a socket does not take is kept in borrowed buffers, and its source is not read meanwhile. Elsewhere,
// and for what has no descriptor, goroutines carry the session, two for each or three with a Splitter.
//
// An idle session holds no buffer from the pool. Parked it holds none at all; with goroutines a TCP connection is waited
// for without any, another one (TLS) with half a kilobyte. Every write has a deadline, every wait is bounded by the idle
// limit.
package relay
