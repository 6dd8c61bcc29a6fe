package proxy

import (
	"crypto/tls"
	"strings"
	"sync"

	"latchkey/authcore"
)

// WithTLS adds what a handshake has told to info: after an implicit one the Server does it, after STARTTLS the Protocol.
func WithTLS(info authcore.ConnInfo, state *tls.ConnectionState) authcore.ConnInfo {
	info.ServerName = strings.ToLower(state.ServerName)
	info.TLSVersion = tlsVersion(state.Version)
	info.TLSCipher = cipherName(state.CipherSuite)
	return info
}

// cipherNames are those of crypto/tls, which makes the whole list anew each time that it is asked for one.
var cipherNames = sync.OnceValue(func() map[uint16]string {
	names := map[uint16]string{}
	for _, suite := range tls.CipherSuites() {
		names[suite.ID] = suite.Name
	}
	return names
})

func cipherName(id uint16) string {
	if name, ok := cipherNames()[id]; ok {
		return name
	}
	return tls.CipherSuiteName(id)
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
