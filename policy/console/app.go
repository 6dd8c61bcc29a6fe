package console

import (
	"strings"
	"time"
)

// appPage is the page of the authenticator app.
type appPage struct {
	Since   time.Time // zero: there is none
	Waiting bool      // a new one waits for its first number
	Secret  string    // of that one, shown once; empty: it was shown before
	QR      qrCode
}

func (p *page) app() error { return p.appAfter(nil, appPage{}) }

func (p *page) appAfter(err error, shown appPage) error {
	v, failed := p.core.MyTwoStep(p.ctx, p.actor)
	if failed != nil {
		return failed
	}
	shown.Since = v.AppSince
	return p.after(err, "app.html", shown)
}

// appBegin shows the secret of an app in the answer itself: it is nowhere to be read again.
func (p *page) appBegin() error {
	made, err := p.core.BeginApp(p.ctx, p.actor)
	if err != nil {
		return p.appAfter(err, appPage{})
	}
	code, err := newQR(made.URL, p.t("QR code for the authenticator app; the key below it says the same"))
	if err != nil {
		return err
	}
	return p.appAfter(nil, appPage{Waiting: true, Secret: grouped(made.Secret.Reveal()), QR: code})
}

func (p *page) appConfirm() error {
	if _, err := p.core.ConfirmApp(p.ctx, p.actor, p.secret("code")); err != nil {
		return p.appAfter(ofCodes(err), appPage{Waiting: true})
	}
	return p.redirect("/security/two-step", "app_added")
}

func (p *page) appRemove() error {
	if err := p.core.RemoveApp(p.ctx, p.actor); err != nil {
		return p.appAfter(err, appPage{})
	}
	return p.redirect("/security/two-step", "app_removed")
}

// grouped shows a long key in groups of four, as people copy it.
func grouped(s string) string {
	var l []string
	for len(s) > 4 {
		l, s = append(l, s[:4]), s[4:]
	}
	return strings.Join(append(l, s), " ")
}
