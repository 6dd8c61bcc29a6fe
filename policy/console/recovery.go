package console

import (
	"crypto/rand"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/secret"
)

// recoveryPage is the page of the recovery codes.
type recoveryPage struct {
	Left  int
	Since time.Time
	Once  string // of the form: sent again, it makes no second codes
	Codes string // just made, one a line; shown once
}

func (p *page) recovery() error { return p.recoveryAfter(nil, recoveryPage{}) }

func (p *page) recoveryAfter(err error, shown recoveryPage) error {
	v, failed := p.core.MyTwoStep(p.ctx, p.actor)
	if failed != nil {
		return failed
	}
	shown.Left, shown.Since, shown.Once = v.RecoveryLeft, v.RecoverySince, rand.Text()
	return p.after(err, "recovery.html", shown)
}

// recoveryMake shows the codes in the answer itself: they are nowhere to be read again.
func (p *page) recoveryMake() error {
	once, err := p.once()
	if err != nil {
		return err
	}
	codes, err := p.core.NewRecoveryCodes(authcore.WithIdempotencyKey(p.ctx, secret.New(once), "recovery codes"), p.actor)
	if err != nil {
		return p.recoveryAfter(err, recoveryPage{})
	}
	lines := make([]string, len(codes))
	for i, c := range codes {
		lines[i] = c.Reveal()
	}
	return p.recoveryAfter(nil, recoveryPage{Codes: strings.Join(lines, "\n")})
}
