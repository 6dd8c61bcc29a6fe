package console

import "latchkey/authcore"

func (s *server) frontRoutes() {
	s.open("GET /{$}", (*page).front)
	s.kit.Otherwise(s.handler((*page).nowhere))
}

// front leads to what most people come for.
func (p *page) front() error { return p.redirect("/security", "") }

// nowhere answers what no pattern has.
func (p *page) nowhere() error { return &authcore.Denial{Reason: authcore.NotFound} }
