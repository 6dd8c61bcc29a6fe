package notify

import (
	"strings"
	"time"
)

// Event is what a message tells of. What a Kind does not need is left empty. Nothing in it is a secret, but the Code of
// CodeSent and SignInCode.
type Event struct {
	Kind    Kind
	At      time.Time
	From    string // address of the client that did it
	Address string // of the member that it happened to
	Name    string // of the app password, the way, the device, …
	Door    string
	Code    string
	Lines   []string // AddressesFound: the addresses
}

// wording is how one language says one Kind. In braces stand the fields that it needs.
type wording struct{ subject, text string }

// language is one of those that members may choose.
type language struct {
	kinds   map[Kind]wording
	words   map[string]string // closed words in Name and Door, as people say them
	mend    string            // {mend}: what to do if it was somebody else
	zone    *time.Location    // of the times it tells
	stamp   string            // layout of a time, its offset named
	nowhere string            // a client without an address
}

// Languages are those that members may choose: en, ja, ko.
func Languages() []string { return []string{"en", "ja", "ko"} }

// in answers a language; English for one that there is not.
func in(name string) language {
	switch name {
	case "ja":
		return japanese()
	case "ko":
		return korean()
	default:
		return english()
	}
}

// Message words the event in a language.
func (e Event) Message(name string) Message {
	l := in(name)
	w := l.kinds[e.Kind]
	fill := l.filler(e)
	return Message{Time: e.At, Kind: e.Kind, Subject: oneLine(fill.Replace(w.subject)), Text: fill.Replace(w.text)}
}

// filler puts the event's fields in place. What it puts in is not looked at again, so that a name in braces stays a name.
func (l language) filler(e Event) *strings.Replacer {
	from := e.From
	if from == "" {
		from = l.nowhere
	}
	return strings.NewReplacer("{at}", e.At.In(l.zone).Format(l.stamp), "{from}", from, "{address}", e.Address, "{name}", l.word(e.Name),
		"{door}", l.word(e.Door), "{code}", e.Code, "{lines}", strings.Join(e.Lines, "\n"), "{mend}", l.mend)
}

func (l language) word(s string) string {
	if w, ok := l.words[s]; ok {
		return w
	}
	return s
}

// oneLine keeps a name from adding a header to an e-mail.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
