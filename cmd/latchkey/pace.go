package main

import (
	"os"
	"runtime/debug"
)

// The collector comes when the heap has grown by a percentage of what lives, GOGC. Where little lives, as at the doors of a
// small house or before its members have come, that was every hundred sign-ins, and a twelfth of their CPU. There it may come
// more rarely: what gathers meanwhile is bounded, and giveSpareBack returns it in the next lull.

const (
	// freeGarbage may gather whatever lives.
	freeGarbage = 64 << 20
	// usualPercent is that of Go, where more lives than freeGarbage.
	usualPercent = 100
)

// percents are tried in this order. More would gain nothing that can be measured.
var percents = [...]int{400, 200}

// percentFor answers the percentage for what lives.
func percentFor(live uint64) int {
	for _, p := range percents {
		if live*uint64(p)/100 <= freeGarbage {
			return p
		}
	}
	return usualPercent
}

// pace is the collector's.
type pace struct {
	fixed   bool // by whoever runs the process
	percent int
}

func newPace() pace { return pace{fixed: os.Getenv("GOGC") != "", percent: usualPercent} }

// follow sets the percentage if another one is due, which stops the program for a moment.
func (p *pace) follow(live uint64) {
	if due := percentFor(live); !p.fixed && due != p.percent {
		p.percent = due
		debug.SetGCPercent(due)
	}
}
