package demo

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

const (
	inbox         = "INBOX"
	sentElsewhere = "Sent elsewhere"

	maxMessage   = 25 << 20  // what large mail services take
	maxMail      = 100 << 20 // bytes of one person: four of the largest messages, and a demo's people fit into memory
	maxMessages  = 5000      // of one person; the library walks a mailbox from end to end
	maxMailboxes = 100       // of one person; each walk over them stays cheap
)

var (
	errMailboxFull = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeOverQuota, Text: "The demo keeps no more mail for you"}
	errTooMany     = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeLimit, Text: "The demo keeps no more mailboxes for you"}
	errInboxStays  = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeCannot, Text: "INBOX stays where it is"}

	errTooLarge = errors.New("message too large")
)

// standard are the mailboxes that everybody begins with, and what RFC 6154 calls them.
func standard() []standardMailbox {
	return []standardMailbox{
		{inbox, ""}, {"Sent", imap.MailboxAttrSent}, {"Drafts", imap.MailboxAttrDrafts},
		{"Trash", imap.MailboxAttrTrash}, {"Junk", imap.MailboxAttrJunk},
	}
}

type standardMailbox struct {
	name string
	use  imap.MailboxAttr
}

// mailboxes are one person's mail. The library's user keeps the messages; beside it stand names, subscriptions and
// special uses, which it does not tell, and the bounds, which it does not have.
type mailboxes struct {
	now      func() time.Time
	user     *imapmemserver.User
	validity uint32 // added to the library's UIDVALIDITY, which begins at 1 with every process

	filling sync.Mutex // held while messages are added or moved: bounds hold, and two moves cannot wait on each other

	mu    sync.Mutex
	names map[string]*mailbox // guarded by mu
}

type mailbox struct {
	use        imap.MailboxAttr
	subscribed bool
}

func newMailboxes(now func() time.Time) *mailboxes {
	m := &mailboxes{
		now:      now,
		user:     imapmemserver.NewUser("", ""),
		validity: uint32(now().Unix()), // rises from start to start, RFC 9051 section 2.3.1.1
		names:    make(map[string]*mailbox),
	}
	for _, box := range standard() {
		_ = m.create(box.name) // cannot exist yet
		m.names[box.name].use, m.names[box.name].subscribed = box.use, true
	}
	return m
}

// deliver puts a message into the mailbox called name. It makes that mailbox if need be, subscribed, since many programs
// show no others.
func (m *mailboxes) deliver(name string, message []byte) error {
	var refused *imap.Error
	err := m.create(name)
	if err == nil {
		err = m.subscribe(name, true)
	} else if errors.As(err, &refused) && refused.Code == imap.ResponseCodeAlreadyExists {
		err = nil
	}
	if err != nil {
		return err
	}
	_, err = m.append(name, message, &imap.AppendOptions{Time: m.now()})
	return err
}

// append adds a message. The bytes are the mailbox's from now on.
func (m *mailboxes) append(name string, message []byte, o *imap.AppendOptions) (*imap.AppendData, error) {
	if len(message) > maxMessage {
		return nil, errTooLarge
	}
	if o.Time.IsZero() {
		o.Time = m.now()
	}
	m.filling.Lock()
	defer m.filling.Unlock()
	if !m.hasRoom(int64(len(message))) {
		return nil, errMailboxFull
	}
	data, err := m.user.Append(name, literal{bytes.NewReader(message)}, o)
	if err != nil {
		return nil, err
	}
	data.UIDValidity += m.validity
	return data, nil
}

// hasRoom says whether one more message of n bytes is within bounds.
func (m *mailboxes) hasRoom(n int64) bool {
	size, count := n, uint32(1)
	for _, name := range m.sortedNames() {
		st, err := m.user.Status(name, &imap.StatusOptions{NumMessages: true, Size: true})
		if err != nil {
			continue // deleted since
		}
		size += *st.Size
		count += *st.NumMessages
	}
	return size <= maxMail && count <= maxMessages
}

func (m *mailboxes) sortedNames() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.names))
}

func (m *mailboxes) create(name string) error {
	name = strings.TrimRight(name, "/")
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[name] == nil && len(m.names) >= maxMailboxes {
		return errTooMany
	}
	if err := m.user.Create(name, nil); err != nil {
		return err
	}
	m.names[name] = &mailbox{}
	return nil
}

func (m *mailboxes) delete(name string) error {
	if name == inbox {
		return errInboxStays
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.user.Delete(name); err != nil {
		return err
	}
	delete(m.names, name)
	return nil
}

func (m *mailboxes) rename(from, to string) error {
	if from == inbox {
		return errInboxStays
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.user.Rename(from, to, nil); err != nil {
		return err
	}
	m.names[strings.TrimRight(to, "/")] = m.names[from]
	delete(m.names, from)
	return nil
}

func (m *mailboxes) subscribe(name string, yes bool) error {
	if _, err := m.user.Status(name, &imap.StatusOptions{}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if box := m.names[name]; box != nil {
		box.subscribed = yes
	}
	return nil
}

func (m *mailboxes) status(name string, o *imap.StatusOptions) (*imap.StatusData, error) {
	data, err := m.user.Status(name, o)
	if err != nil {
		return nil, err
	}
	if o.UIDValidity {
		data.UIDValidity += m.validity
	}
	return data, nil
}

// list answers the mailboxes that keep selects, in order, with the attributes of RFC 9051 section 7.3.1 and RFC 6154.
func (m *mailboxes) list(keep func(name string, box mailbox) bool) []imap.ListData {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []imap.ListData
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		box := *m.names[name]
		if !keep(name, box) {
			continue
		}
		attrs := []imap.MailboxAttr{m.childrenLocked(name)}
		if box.subscribed {
			attrs = append(attrs, imap.MailboxAttrSubscribed)
		}
		if box.use != "" {
			attrs = append(attrs, box.use)
		}
		found = append(found, imap.ListData{Mailbox: name, Delim: '/', Attrs: attrs})
	}
	return found
}

func (m *mailboxes) childrenLocked(name string) imap.MailboxAttr {
	for other := range m.names {
		if strings.HasPrefix(other, name+"/") {
			return imap.MailboxAttrHasChildren
		}
	}
	return imap.MailboxAttrHasNoChildren
}

// literal is a message on its way into the library.
type literal struct{ *bytes.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }
