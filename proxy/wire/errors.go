package wire

import "errors"

// What the peer did wrong. Each ends reading for good: answer with Bye.
var (
	// ErrLineTooLong: no line end within the limit. What follows is not read.
	ErrLineTooLong = errors.New("line too long")
	// ErrBareCR: a CR that no LF follows.
	ErrBareCR = errors.New("CR without LF")
	// ErrBareLF: an LF that no CR precedes.
	ErrBareLF = errors.New("LF without CR")
	// ErrNUL: a NUL octet in a line.
	ErrNUL = errors.New("NUL in a line")
	// ErrBytesBeforeTLS: plaintext was sent behind STARTTLS, before the handshake. Close without a word: the bytes may be
	// another's, put in front of the peer's own.
	ErrBytesBeforeTLS = errors.New("plaintext bytes before the TLS handshake")
)

// ErrDetached: the connection was handed over by Detach and is no longer this Conn's.
var ErrDetached = errors.New("connection handed over")
