package notify

import "slices"

// Webhook says which events a webhook wants. What brings them there is the Sender of its channel.
type Webhook struct {
	Name    string   // as in the configuration
	Domains []string // none: of every domain
	Kinds   []Kind   // none: every kind but those that are secret
}

// Wants says whether it gets an event. Codes, and what only their receiver may know, nobody gets.
func (w Webhook) Wants(domain string, k Kind) bool {
	return !k.Secret() && (len(w.Domains) == 0 || slices.Contains(w.Domains, domain)) && (len(w.Kinds) == 0 || slices.Contains(w.Kinds, k))
}

// MaxWebhooks bounds how many one installation has: each event is a record for each of them, in a batch that has a bound.
const MaxWebhooks = 4
