package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"latchkey/authcore"
)

// sendProxyHeader sends a PROXY protocol v2 header before anything else, TLS too.
func sendProxyHeader(ctx context.Context, conn net.Conn, c authcore.ConnInfo) error {
	h, err := proxyHeader(c)
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	_, err = h.WriteTo(conn)
	return err
}

// proxyHeader tells of the client if somebody vouches for its address, and is LOCAL else: then the upstream takes the
// door for the client. A loopback address is never told, for upstreams trust their own host more than others.
func proxyHeader(c authcore.ConnInfo) (*proxyproto.Header, error) {
	from, to := unmapped(c.Client), unmapped(c.Local)
	if !c.ClientVouched || !tellable(from) || !to.IsValid() {
		return &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}, nil
	}
	h := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to))
	tlvs, err := proxyTLVs(c)
	if err != nil {
		return nil, err
	}
	if err := h.SetTLVs(tlvs); err != nil {
		return nil, fmt.Errorf("build PROXY header: %w", err)
	}
	return h, nil
}

func tellable(a netip.AddrPort) bool {
	return a.IsValid() && !a.Addr().IsLoopback() && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast()
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// proxyTLVs tell of the client's TLS and of our name for the connection: PROXY protocol section 2.2.
func proxyTLVs(c authcore.ConnInfo) ([]proxyproto.TLV, error) {
	var tlvs []proxyproto.TLV
	if c.ID != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: []byte(c.ID)})
	}
	if c.TLSVersion == "" {
		return tlvs, nil
	}
	if c.ServerName != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(c.ServerName)})
	}
	ssl, err := tlvparse.PP2SSL{
		Client: tlvparse.PP2_BITFIELD_CLIENT_SSL,
		Verify: 1, // no client certificate was seen, let alone found good
		TLV: []proxyproto.TLV{
			{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(c.TLSVersion)},
			{Type: proxyproto.PP2_SUBTYPE_SSL_CIPHER, Value: []byte(c.TLSCipher)},
		},
	}.Marshal()
	if err != nil {
		return nil, fmt.Errorf("build PROXY header: %w", err)
	}
	return append(tlvs, ssl), nil
}
