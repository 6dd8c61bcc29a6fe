// Package relay passes octets both ways between a client that has signed in and its upstream, until one of them ends
// the session, nothing moves for too long, or it is cut.
//
// Without a Splitter every octet passes as it comes. With one (SMTP) the splitter sees what has arrived from either
// side and says what becomes of it. It refuses to guess: an Action that makes no sense, and the zero Action, reset the
// upstream, so that it never takes a part of a message for the whole.
//
// Start takes both connections over, read-ahead included, and returns at once. Nobody above may assume that a goroutine
// waits here: OnEnd is the only sign of an end, it comes exactly once, and by then both descriptors are closed.
//
// An idle session holds no buffer from the pool. A TCP connection is waited for without any, another one (TLS) with
// half a kilobyte. Every write has a deadline, every wait is bounded by the idle limit.
package relay
