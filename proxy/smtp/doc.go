// Package smtp is the door of message submission: its own strict dialogue until the client has signed in, the sign-in
// at the upstream, and the splitter by which the relay tells commands from messages afterwards. It decides nothing
// about passwords, keeps no message, and answers for none: a client's 250 is the upstream's 250.
//
//	RFC                          command, extension           before AUTH              after AUTH
//	5321 SMTP, 6409 Submission   EHLO, HELO                   yes                      passed; see below
//	                             NOOP, RSET, QUIT             yes                      passed
//	                             MAIL                         530                      passed, if the sender is the member's
//	                             RCPT, DATA                   530                      passed
//	                             VRFY, EXPN                   530                      passed
//	                             HELP                         yes                      passed
//	3207, 8314 TLS               STARTTLS                     yes, once                503
//	4954 AUTH                    AUTH PLAIN, LOGIN            yes, under TLS; else 538 503
//	3030 CHUNKING, BINARYMIME    BDAT                         530, and the end         passed, if the upstream offers it
//	4468 BURL                    BURL                         530                      passed, if the upstream offers it
//	2920 PIPELINING              -                            yes; offered if the upstreams do
//	1870 SIZE, 6152 8BITMIME, 3461 DSN, 6531 SMTPUTF8, 2852 DELIVERBY, 4865 FUTURERELEASE and any other
//	                             parameters of MAIL and RCPT  offered if the upstreams do; passed
//	2034, 3463 status codes      -                            in every reply; offered if the upstreams do
//	- (Postfix)                  XCLIENT, XFORWARD            502                      502
//	1985 ETRN, 821 TURN, SEND    ETRN and its like            502                      502
//
// Refused besides: a CR or LF that stands alone and lines over their bound (500 or, in DATA, 550 5.6.11; both sides
// end), control characters in commands, plaintext behind STARTTLS (the end, without a word), any mechanism outside TLS,
// the fourth attempt, and what a client may not see of the upstream's offers: STARTTLS, AUTH, XCLIENT, XFORWARD.
//
// A client that talks before the greeting is served like any other: its commands wait, and are answered in turn.
//
// Toward the upstream: EHLO, STARTTLS where it is demanded, XCLIENT with the facts of the client (and LOGIN only where
// that is the way of signing in), AUTH PLAIN or OAUTHBEARER.
package smtp
