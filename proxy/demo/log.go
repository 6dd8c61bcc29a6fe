package demo

import (
	"fmt"
	"log/slog"
	"strings"
)

// libraryLog takes what the protocol libraries log. Connections that end early are their daily bread, so all but panics
// is debugging.
type libraryLog struct {
	log      *slog.Logger
	protocol string
}

func (l libraryLog) Printf(format string, args ...any) { l.line(fmt.Sprintf(format, args...)) }

func (l libraryLog) Println(args ...any) { l.line(fmt.Sprintln(args...)) }

func (l libraryLog) line(text string) {
	if strings.HasPrefix(text, "panic") {
		l.log.Error("demo: panic in a connection", "protocol", l.protocol, "cause", text)
		return
	}
	l.log.Debug("demo: library", "protocol", l.protocol, "text", strings.TrimSpace(text))
}
