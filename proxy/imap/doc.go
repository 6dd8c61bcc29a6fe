// Package imap is the IMAP door: the dialogue with a client until it may come in, and the sign-in at its upstream. What
// follows is relayed untouched by others.
//
// Toward the client, before sign-in:
//
//	RFC                   what                            status
//	9051 6.1.1, 3501      CAPABILITY                      yes
//	9051 6.1.2, 6.1.3     NOOP, LOGOUT                    yes
//	9051 6.2.1, 3501      STARTTLS                        yes; refused under TLS and with octets behind it
//	9051 6.2.2, 3501      AUTHENTICATE PLAIN, LOGIN       yes, under TLS alone
//	9051 6.2.3, 3501      LOGIN                           yes, under TLS alone
//	9051 6.3, 6.4         everything after sign-in        refused: sign in first
//	2595, 8314            TLS, LOGINDISABLED, TLS port    yes
//	2971                  ID                              yes: 30 pairs, keys of 30 octets, values of 1024
//	4959                  SASL-IR                         yes
//	5530                  response codes                  yes
//	7888                  LITERAL+ (and so LITERAL-)      partial: one over the budget ends the connection
//	2221                  LOGIN-REFERRALS                 refused: a client would go round the door
//	8437                  UNAUTHENTICATE                  refused: the session's member would change behind the door
//
// Toward the upstream:
//
//	9051 7.1, 3501        greeting                        OK alone; PREAUTH and BYE are refused
//	9051 6.2.1            STARTTLS                        yes, where the Leg asks for it; octets behind it are refused
//	4616, 4959            AUTHENTICATE PLAIN              yes, as a master with authorization identity, or as the member
//	7628                  AUTHENTICATE OAUTHBEARER        yes, with a token of ours
//	9051 6.2.3, 7888      LOGIN                           yes, where a member's own password goes on and PLAIN is missing
//	2971                  ID with x-originating-ip …      yes, where the Leg asks for it
//
// It refuses lines over 12 KiB, NUL, a CR or LF alone, any escape in a quoted string but \" and \\, what is not UTF-8
// or holds control characters in a name or a password, and more bad commands, attempts, octets or time than a program
// needs. Of its own it holds less than 4 KiB for a connection; wire holds the rest.
package imap
