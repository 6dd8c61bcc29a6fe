package relay_test

import (
	"context"
	"io"
	"net"
	"testing"

	"latchkey/proxy/relay"
)

// throughput relays between one pair and another and answers the peers' ends.
func throughput(b *testing.B, client, upstream link, o relay.Options) (c, u net.Conn) {
	r := relay.New(relay.Settings{})
	r.Start(client.door, upstream.door, o)
	b.Cleanup(func() {
		client.peer.Close()
		upstream.peer.Close()
		_ = r.Wait(context.Background()) // the background does not end
		r.Close(errCut)
	})
	return client.peer, upstream.peer
}

// BenchmarkBulk is the way of a download: from an upstream in the clear to the client.
func BenchmarkBulk(b *testing.B) {
	for _, name := range []string{"TCP", "TLS 1.3", "wrapped"} {
		b.Run(name, func(b *testing.B) {
			client, upstream := throughput(b, transports[name](b, relay.Client), over(tcpPair(b)), relay.Options{})
			const size = 1 << 20
			p := make([]byte, size)
			b.SetBytes(size)
			go func() {
				for {
					if _, err := upstream.Write(p); err != nil {
						return
					}
				}
			}()
			for b.Loop() {
				if _, err := io.CopyN(io.Discard, client, size); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCommand is one line to the upstream and one back.
func BenchmarkCommand(b *testing.B) {
	for name, o := range map[string]relay.Options{"plain": {}, "splitter": {Splitter: &lines{}}} {
		for _, leg := range []string{"TCP", "TLS 1.3"} {
			b.Run(name+" "+leg, func(b *testing.B) {
				client, upstream := throughput(b, transports[leg](b, relay.Client), over(tcpPair(b)), o)
				go func() { _, _ = io.Copy(upstream, upstream) }()
				p := []byte("a1 NOOP\r\n")
				for b.Loop() {
					if _, err := client.Write(p); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(client, p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
