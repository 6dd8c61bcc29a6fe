package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"latchkey/authcore"
)

// A load balancer at which the client's TLS ended says so in the PROXY header, version 2, with PP2_TYPE_SSL (the
// specification, section 2.2.6). Whoever is listed to say who the client is, is believed this too: a door without a TLS of
// its own then takes the sign-in at once. Nothing else counts: not version 1, not a header without it, not a client that came
// to the load balancer in the clear.

// endedTLS is the TLS that ended before us. Zero: there was none that counts.
type endedTLS struct{ version, cipher string }

var errWrongTLV = errors.New("PROXY header says twice, or not soundly, what TLS the client had")

// maxCipher bounds the cipher's name, which goes to logs and upstreams: the longest of OpenSSL's has 45 letters.
const maxCipher = 64

// tlsBefore answers the client's TLS that h tells of. What is malformed is refused rather than overlooked.
func tlsBefore(h *proxyproto.Header) (endedTLS, error) {
	if h.Version != 2 {
		return endedTLS{}, nil
	}
	tlvs, err := h.TLVs()
	if err != nil {
		return endedTLS{}, fmt.Errorf("parse PROXY header: %w", err)
	}
	var ended endedTLS
	seen := false
	for _, tlv := range tlvs {
		if tlv.Type != proxyproto.PP2_TYPE_SSL {
			continue
		}
		if seen {
			return endedTLS{}, errWrongTLV
		}
		seen = true
		if ended, err = tlsOf(tlv); err != nil {
			return endedTLS{}, err
		}
	}
	return ended, nil
}

// tlsOf reads one PP2_TYPE_SSL. A version that our own doors would not take counts as none.
func tlsOf(tlv proxyproto.TLV) (endedTLS, error) {
	ssl, err := tlvparse.SSL(tlv)
	if err != nil {
		return endedTLS{}, fmt.Errorf("%w: %w", errWrongTLV, err)
	}
	if !ssl.ClientSSL() {
		return endedTLS{}, nil
	}
	version, _ := ssl.SSLVersion()
	cipher, _ := ssl.SSLCipher()
	if len(cipher) > maxCipher || strings.ContainsFunc(cipher, notOfCipher) {
		return endedTLS{}, errWrongTLV
	}
	for _, ours := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if name := tlsVersion(ours); version == name {
			return endedTLS{version: name, cipher: cipher}, nil // not the header's own text: a session keeps it
		}
	}
	return endedTLS{}, nil
}

func notOfCipher(r rune) bool {
	return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// onto adds it to info, as a handshake of our own is added.
func (e endedTLS) onto(info authcore.ConnInfo) authcore.ConnInfo {
	info.TLSVersion, info.TLSCipher = e.version, e.cipher
	return info
}
