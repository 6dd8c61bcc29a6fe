package proxy

import (
	"crypto/tls"
	"strings"

	"latchkey/authcore"
)

// WithTLS adds what a handshake has told to info: after an implicit one the Server does it, after STARTTLS the Protocol.
func WithTLS(info authcore.ConnInfo, state *tls.ConnectionState) authcore.ConnInfo {
	info.ServerName = strings.ToLower(state.ServerName)
	info.TLSVersion = tlsVersion(state.Version)
	info.TLSCipher = tls.CipherSuiteName(state.CipherSuite)
	return info
}

// tlsVersion names a version as OpenSSL, XCLIENT and Dovecot do.
func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return "TLS"
}
