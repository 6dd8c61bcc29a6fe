package demo

import (
	"context"
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// maildrop is what one POP3 session sees: the messages that INBOX held when the session began (RFC 1939 section 3). The
// mailbox is not locked meanwhile, since IMAP works on it too; messages are named by UID, so nothing is ever mixed up.
type maildrop struct {
	imap     *imapclient.Client
	validity uint32
	messages []*popMessage
}

type popMessage struct {
	number  int // from 1
	uid     imap.UID
	size    int64
	deleted bool // removed by update, unless reset comes first
}

var errGone = errors.New("message is gone")

func openMaildrop(ctx context.Context, in *inside, p *person) (*maildrop, error) {
	conn, err := in.dial(p)
	if err != nil {
		return nil, fmt.Errorf("reach IMAP: %w", err)
	}
	d := &maildrop{imap: imapclient.New(conn, nil)}
	// The pipe has no wire to wait on: only Close of the server may break in.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := d.load(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *maildrop) load() error {
	box, err := d.imap.Select(inbox, nil).Wait()
	if err != nil {
		return fmt.Errorf("select INBOX: %w", err)
	}
	d.validity = box.UIDValidity
	if box.NumMessages == 0 {
		return nil
	}
	all := imap.SeqSet{{Start: 1, Stop: box.NumMessages}}
	found, err := d.imap.Fetch(all, &imap.FetchOptions{UID: true, RFC822Size: true}).Collect()
	if err != nil {
		return fmt.Errorf("list INBOX: %w", err)
	}
	for i, m := range found {
		d.messages = append(d.messages, &popMessage{number: i + 1, uid: m.UID, size: m.RFC822Size})
	}
	return nil
}

// close lets go of the mailbox and removes nothing.
func (d *maildrop) close() { _ = d.imap.Close() }

func (d *maildrop) reset() {
	for _, m := range d.messages {
		m.deleted = false
	}
}

// total counts the messages that are not deleted, and their octets.
func (d *maildrop) total() (count int, size int64) {
	for _, m := range d.messages {
		if !m.deleted {
			count++
			size += m.size
		}
	}
	return count, size
}

// uniqueID is the same in every session, and never used again (RFC 1939 section 7).
func (d *maildrop) uniqueID(m *popMessage) string { return fmt.Sprintf("%08x%08x", d.validity, m.uid) }

// fetch answers a whole message, or errGone if another program removed it since.
func (d *maildrop) fetch(m *popMessage) ([]byte, error) {
	whole := &imap.FetchItemBodySection{Peek: true}
	found, err := d.imap.Fetch(imap.UIDSetNum(m.uid), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	if err != nil {
		return nil, fmt.Errorf("fetch message: %w", err)
	}
	for _, f := range found {
		if f.UID == m.uid && len(f.BodySection) == 1 {
			return f.BodySection[0].Bytes, nil
		}
	}
	return nil, errGone
}

// update removes what was deleted.
func (d *maildrop) update() error {
	var gone imap.UIDSet
	for _, m := range d.messages {
		if m.deleted {
			gone.AddNum(m.uid)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	mark := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := d.imap.Store(gone, mark, nil).Close(); err != nil {
		return fmt.Errorf("mark messages: %w", err)
	}
	if err := d.imap.UIDExpunge(gone).Close(); err != nil {
		return fmt.Errorf("expunge messages: %w", err)
	}
	return nil
}
