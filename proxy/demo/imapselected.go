package demo

import (
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
)

// The selected state. What the library's mailbox does well is left to it; here stands what it gets wrong: flags that no
// message has yet, EXAMINE, messages that the client was not told of, moves, and news that come just as IDLE begins.

var (
	errReadOnly      = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeNoPerm, Text: "Mailbox is open read-only"}
	errNoDestination = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeTryCreate, Text: "No such mailbox"}
)

func (sess *imapSession) Select(name string, o *imap.SelectOptions) (*imap.SelectData, error) {
	data, err := sess.UserSession.Select(name, o)
	if err != nil {
		return nil, err
	}
	sess.readOnly = o.ReadOnly
	data.UIDValidity += sess.mail.validity
	data.Flags = withSystemFlags(data.Flags)
	data.PermanentFlags = append(slices.Clone(data.Flags), imap.FlagWildcard)
	if sess.readOnly {
		data.PermanentFlags = nil // RFC 9051 section 6.3.3: nothing can be changed for good
	}
	return data, nil
}

// withSystemFlags names the flags of RFC 9051 section 2.3.2 even if no message has them yet: programs take what is not
// listed for unsupported. The library keeps flags in small letters.
func withSystemFlags(used []imap.Flag) []imap.Flag {
	flags := []imap.Flag{imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagDraft}
	for _, f := range used {
		switch f {
		case `\seen`, `\answered`, `\flagged`, `\deleted`, `\draft`:
		default:
			flags = append(flags, f)
		}
	}
	return flags
}

func (sess *imapSession) Fetch(w *imapserver.FetchWriter, set imap.NumSet, o *imap.FetchOptions) error {
	if sess.readOnly {
		for _, section := range o.BodySection {
			section.Peek = true // no \Seen by EXAMINE
		}
	}
	set, err := sess.announced(set)
	if err != nil {
		return err
	}
	return sess.UserSession.Fetch(w, set, o)
}

func (sess *imapSession) Store(w *imapserver.FetchWriter, set imap.NumSet, flags *imap.StoreFlags, o *imap.StoreOptions) error {
	if sess.readOnly {
		return errReadOnly
	}
	set, err := sess.announced(set)
	if err != nil {
		return err
	}
	return sess.UserSession.Store(w, set, flags, o)
}

// announced turns UIDs into sequence numbers of messages that the client was told of. The library answers a UID command
// for a message that arrived since with sequence number 0, which is none.
func (sess *imapSession) announced(set imap.NumSet) (imap.NumSet, error) {
	uids, ok := set.(imap.UIDSet)
	if !ok {
		return set, nil
	}
	data, err := sess.Search(imapserver.NumKindSeq, &imap.SearchCriteria{UID: []imap.UIDSet{uids}}, &imap.SearchOptions{})
	if err != nil {
		return nil, err
	}
	return data.All, nil
}

// Expunge does nothing in a mailbox opened by EXAMINE, for CLOSE comes here too and must not fail (RFC 9051 section 6.4.1).
func (sess *imapSession) Expunge(w *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	if sess.readOnly {
		return nil
	}
	return sess.UserSession.Expunge(w, uids)
}

func (sess *imapSession) Copy(set imap.NumSet, to string) (*imap.CopyData, error) {
	sess.mail.filling.Lock()
	defer sess.mail.filling.Unlock()
	// A copy shares its bytes with the original, so it is enough that there is room before it.
	if !sess.mail.hasRoom(0) {
		return nil, errMailboxFull
	}
	data, err := sess.UserSession.Copy(set, to)
	if err != nil || len(data.SourceUIDs) == 0 {
		return nil, err // RFC 4315 section 3: no COPYUID when nothing was copied
	}
	data.UIDValidity += sess.mail.validity
	return data, nil
}

// Move copies, then expunges what it copied; the client hears of it with the other updates before the tagged OK
// (RFC 6851 section 3.3). The library's own move tells expunged messages twice, and two of them may wait on each other.
func (sess *imapSession) Move(w *imapserver.MoveWriter, set imap.NumSet, to string) error {
	if sess.readOnly {
		return errReadOnly
	}
	data, err := sess.Copy(set, to)
	if err != nil || data == nil {
		return err
	}
	if err := w.WriteCopyData(data); err != nil {
		return err
	}
	gone := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := sess.UserSession.Store(nil, data.SourceUIDs, gone, nil); err != nil {
		return err
	}
	return sess.UserSession.Expunge(nil, &data.SourceUIDs)
}

// idleLook is how often IDLE looks for news: soon enough for a person who watches.
const idleLook = 200 * time.Millisecond

// Idle looks by the clock. The library waits for a signal, and says "idling" before it listens for one: what arrived in
// between was told with the next news only.
func (sess *imapSession) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	tick := time.NewTicker(idleLook)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-tick.C:
			if err := sess.Poll(w, true); err != nil {
				return err
			}
		}
	}
}
