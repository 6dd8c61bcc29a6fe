package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"latchkey/authcore"
)

func newLevel() *slog.LevelVar { return new(slog.LevelVar) }

// plain says a denial in words for somebody at a terminal.
func plain(err error) error {
	var d *authcore.Denial
	if !errors.As(err, &d) {
		return err
	}
	if len(d.Mistakes) > 0 {
		var l []string
		for _, m := range d.Mistakes {
			l = append(l, m.Field+" "+m.Reason)
		}
		return errors.New(strings.Join(l, "; "))
	}
	switch {
	case d.Detail != "":
		return errors.New(d.Detail)
	case d.Reason == authcore.NotFound:
		return errors.New("there is no such domain or member")
	case d.Reason == authcore.DomainTaken:
		return errors.New("there is a domain of that name")
	default:
		return fmt.Errorf("refused: %s", d.Reason)
	}
}

// splitAddress is net.SplitHostPort for addresses of our own sockets.
func splitAddress(a string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(a)
	return host, port, err == nil
}
