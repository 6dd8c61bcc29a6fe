// Package pop3 is the POP3 door: the dialogue with a client until it may come in, and the sign-in at its upstream. What
// follows is relayed untouched by others.
//
// Toward the client, in the AUTHORIZATION state:
//
//	RFC                what                          status
//	1939               QUIT                          yes
//	1939               USER, PASS                    yes, under TLS alone
//	1939               APOP                          refused: it wants readable passwords; the greeting has no timestamp
//	1939               NOOP                          yes, though it belongs to the TRANSACTION state
//	1939               everything of TRANSACTION     refused: sign in first
//	2449               CAPA                          yes: the basics, and what every upstream has
//	2449, 3206         RESP-CODES, AUTH-RESP-CODE    yes
//	2595, 8314         STLS, TLS port                yes; refused under TLS and with octets behind it
//	5034               AUTH PLAIN, LOGIN             yes, under TLS alone, with initial response
//	1734, 5034         AUTH alone                    yes: lists the mechanisms, as some programs expect
//	6856               UTF8, LANG                    refused: a mode that the upstream would not know of
//
// Toward the upstream:
//
//	1939               greeting                      +OK alone
//	2449               CAPA                          yes
//	2595               STLS                          yes, where the Leg asks for it; octets behind it are refused
//	5034, 4616         AUTH PLAIN                    yes, as a master with authorization identity, or as the member
//	5034, 7628         AUTH OAUTHBEARER              yes, with a token of ours
//	1939               USER, PASS                    yes, where a member's own password goes on and PLAIN is missing
//	of Dovecot         XCLIENT                       yes, where the Leg asks for it and the upstream has it
//
// It refuses lines over 12 KiB, NUL, a CR or LF alone, what is not UTF-8 or holds control characters in a name or a
// password, and more bad commands, attempts, octets or time than a program needs. Of its own it holds less than 4 KiB for a
// connection; wire holds the rest.
package pop3
