package main

// A target is what Latchkey aims at: a ratio to another server in the same run, to a figure of its own, or a bound.
type target struct {
	row, figure string
	of          string // whom: an entry's name; empty: a bound
	ofFigure    string // of itself; empty: the same figure
	limit       float64
	atLeast     bool
	why         string // where the number comes from
}

// Reasons that several targets share.
const (
	whyMemory = "a session without goroutine and buffer costs its TLS state and the kernel's share"
	whyPlain  = "a plain session without goroutine and buffer costs two descriptors' records"
	whySignIn = "one handshake is most of a sign-in; nobody else should cost more than deciding does"
	whyBulk   = "both copy and encrypt each octet once"
	whySplice = "the kernel moves plain octets from socket to socket by itself"
)

// targets stand as they were set before anything was built; they are not fitted to what was reached.
var targets = []target{
	{row: "idle", figure: "kib", of: nginxName, limit: 0.35, why: whyMemory},
	{row: "idle", figure: "kib", of: dovecotName, limit: 0.12, why: whyMemory},
	{row: "idle", figure: "kib_after", of: latchkeyName, ofFigure: "kib", limit: 1.1, why: "what traffic borrowed is given back"},
	{row: "plainidle", figure: "kib", of: nginxName, limit: 0.25, why: whyPlain},
	{row: "signin64", figure: "cpu_1000", of: nginxName, limit: 0.6, why: whySignIn},
	{row: "signin64", figure: "cpu_1000", of: dovecotName, limit: 0.6, why: whySignIn},
	{row: "signin16", figure: "cpu_1000", of: nginxName, limit: 0.6, why: whySignIn},
	{row: "signin16", figure: "cpu_1000", of: dovecotName, limit: 0.6, why: whySignIn},
	{row: "signin64", figure: "per_second", of: nginxName, limit: 1.25, atLeast: true, why: whySignIn},
	{row: "signin64", figure: "per_second", of: dovecotName, limit: 1.25, atLeast: true, why: whySignIn},
	{row: "signin1", figure: "p50_ms", of: dovecotName, limit: 0.85, why: "one process has no other to wait for"},
	{row: "bulk", figure: "cpu_gb", of: nginxName + ", 64 KB buffers", limit: 1, why: whyBulk},
	{row: "plainbulk", figure: "cpu_gb", of: nginxName + ", 64 KB buffers", limit: 0.6, why: whySplice},
	{row: "noop", figure: "cpu_1000", of: nginxName, limit: 1.3, why: "a few octets cost system calls, of which both need the same"},
	{row: "noop", figure: "cpu_1000", of: dovecotName, limit: 0.6, why: "a few octets cost system calls"},
	{row: "message", figure: "cpu_1000", of: nginxName, limit: 0.75, why: whySignIn},
	{row: "message", figure: "p50_ms", of: dovecotName, limit: 0.75, why: whySignIn},
	{row: "propfind", figure: "cpu_1000", of: nginxName + ", auth_request", limit: 0.6, why: "a verdict is remembered, and not asked for over HTTP"},
	{row: "revoke", figure: "last_s", limit: 1, why: "who is shut out is out at once"},
}
