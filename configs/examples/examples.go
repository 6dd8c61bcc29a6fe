// Package examples holds the configurations of Dovecot, Postfix, Radicale, Redis and load balancers that the documentation shows to operators.
// The tests start the real servers with them, so what is shown is what is tested. It holds files and no code.
package examples

import "embed"

// Files are the configurations, as an operator would install them.
//
//go:embed *.conf *.conf.ext *.cf *.cfg *.acl
var Files embed.FS
