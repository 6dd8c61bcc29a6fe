package console

// Browsers that are spared the second step.

func (p *page) browsers() error { return p.browsersAfter(nil) }

func (p *page) browsersAfter(err error) error {
	l, failed := p.core.TrustedBrowsers(p.ctx, p.actor)
	if failed != nil {
		return failed
	}
	return p.after(err, "browsers.html", l)
}

// browsersForget asks one browser for the second step again, or without an id all of them.
func (p *page) browsersForget() error {
	if err := p.core.EndTrust(p.ctx, p.actor, p.form("id")); err != nil {
		return p.browsersAfter(err)
	}
	return p.redirect("/security/two-step/browsers", "browser_forgotten")
}
