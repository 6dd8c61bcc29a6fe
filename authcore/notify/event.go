package notify

import (
	"fmt"
	"time"
)

// Event is what a message tells of. What a Kind does not need is left empty. Nothing in it is a secret, but the Code of
// CodeSent and SignInCode.
type Event struct {
	Kind    Kind
	At      time.Time
	From    string // address of the client that did it
	Address string // of the member that it happened to, in messages to others
	Name    string // of the app password, the way, the device, …
	Door    string
	Code    string
	Lines   []string // AddressesFound: the addresses
}

// Message words the event in a language.
func (e Event) Message(language string) Message {
	m := Message{Time: e.At, Kind: e.Kind}
	m.Subject, m.Text = e.english()
	return m
}

func (e Event) english() (subject, text string) {
	switch e.Kind {
	case AppPasswordCreated:
		return "A third-party app password was created",
			fmt.Sprintf("The app password %q was created on %s from %s.\n\nIf this was not you: delete it on the Security page at once and "+
				"change your account password.", e.Name, stamp(e.At), place(e.From))
	case MemberSuspended:
		return "A member was suspended: " + e.Address,
			fmt.Sprintf("%s was suspended on %s after too many wrong passwords, the last from %s. Only an administrator can lift the suspension.",
				e.Address, stamp(e.At), place(e.From))
	case GuessingSlowed:
		return "Wrong passwords for " + e.Address,
			fmt.Sprintf("There were too many wrong passwords for %s, the last on %s from %s. This account is never suspended: attempts are slowed.",
				e.Address, stamp(e.At), place(e.From))
	case PasswordWasReset:
		return "Your password was reset",
			fmt.Sprintf("An administrator reset your account password on %s. You set your own when you next sign in on the web.", stamp(e.At))
	case PasswordChanged:
		return "Your password was changed",
			fmt.Sprintf("Your account password was changed on %s from %s.\n\nIf this was not you: tell your administrator at once.", stamp(e.At), place(e.From))
	case CodeSent, SignInCode:
		return "Your verification number", fmt.Sprintf("%s is your verification number. It is good for five minutes. Tell it to nobody.", e.Code)
	default:
		return "Your account", fmt.Sprintf("%s: %s, on %s from %s.", e.Kind, e.Name, stamp(e.At), place(e.From))
	}
}
