package proxy

import (
	"fmt"
	"syscall"
	"testing"

	"latchkey/proxy/relay"
)

func TestEndWord(t *testing.T) {
	broken := fmt.Errorf("read: %w", syscall.ECONNRESET)
	for name, tt := range map[string]struct {
		end  relay.End
		want string
	}{
		"both in order, the client first":   {relay.End{Side: relay.Client}, "client"},
		"both in order, the upstream first": {relay.End{Side: relay.Upstream}, "upstream"},
		"a splitter's goodbye":              {relay.End{}, "client"},
		"the client broke":                  {relay.End{Cause: broken, Side: relay.Client}, "client"},
		"the upstream broke":                {relay.End{Cause: broken, Side: relay.Upstream}, "upstream"},
		"the client takes nothing":          {relay.End{Cause: relay.ErrSlow, Side: relay.Client}, "client"},
		"nobody speaks":                     {relay.End{Cause: relay.ErrIdle}, "idle"},
		"the upstream is silent for long":   {relay.End{Cause: relay.ErrHeld}, "idle"},
		"silence behind the client's end":   {relay.End{Cause: relay.ErrIdle, Side: relay.Client}, "client"},
		"revoked":                           {relay.End{Cause: ErrRevoked}, "revoked"},
		"revoked behind the client's end":   {relay.End{Cause: ErrRevoked, Side: relay.Client}, "revoked"},
		"a splitter's judgement":            {relay.End{Cause: relay.ErrAborted}, "error"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := endWord(tt.end); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
