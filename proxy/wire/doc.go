// Package wire is one side of a text dialogue: lines and literals in, replies out, strict and bounded.
//
// It knows nothing of IMAP, SMTP or POP3. A door uses it toward the client until the sign-in is done, and toward the
// upstream for the sign-in there; then Detach hands the bare connection and the bytes read ahead to the relay.
//
// It refuses what a lenient reader turns into a smuggled command: a CR without its LF, an LF without its CR, NUL, a
// line over its limit, and bytes that were sent before TLS and would be read as if they had come under it. A refused
// connection reads nothing more; it is good for a last reply only (Bye).
//
// It holds little: while it waits, one reader of 4 KiB. A longer line borrows 16 KiB and gives them back, replies are
// gathered in at most 16 KiB and leave with one write. That is 40 KiB at the worst, whatever the peer sends.
//
// Every read and every write has a deadline. One goroutine owns a Conn and reads, writes and detaches it; Close, Reset,
// SetDialogueDeadline and the end of a context given to CloseOn are safe from any other.
package wire
