package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/oidc"
	"latchkey/authcore/secret"
	"latchkey/configs"
)

func keysCommand(ctx context.Context, p program, args []string) error {
	dovecot := ""
	var mac, sign bool
	cfg, words, err := p.load("keys", args, func(f *flag.FlagSet) {
		f.StringVar(&dovecot, "dovecot", "", "export: `folder` that Dovecot's oauth2 passdb reads keys from (local_validation_key_dict)")
		f.BoolVar(&mac, "mac", false, "rotate: the key under which app passwords and codes are fingerprinted and secrets are sealed")
		f.BoolVar(&sign, "sign", false, "rotate: the key that signs tokens for upstreams; the new one signs from 24 h on")
	})
	if err != nil {
		return err
	}
	work := storeWork{"keys", keysWork}
	switch {
	case slices.Equal(words, []string{"list"}):
		return inStore(ctx, cfg, p, work, words, nil, p.out)
	case slices.Equal(words, []string{"rotate"}):
		if mac {
			words = append(words, "mac")
		}
		if sign {
			words = append(words, "sign")
		}
		if len(words) == 1 {
			return misused("say which: rotate -mac, rotate -sign, or both")
		}
		return inStore(ctx, cfg, p, work, words, nil, p.out)
	case len(words) == 2 && words[0] == "drop":
		return inStore(ctx, cfg, p, work, words, nil, p.out)
	case slices.Equal(words, []string{"export"}) && dovecot != "":
		return exportKeys(cfg, dovecot, p.out)
	case slices.Equal(words, []string{"export"}):
		return misused("export needs -dovecot FOLDER")
	default:
		return misused("say list, rotate, drop ID or export")
	}
}

// keysWork is done by whoever holds the store: a running server changes the keys that it uses, at once.
func keysWork(ctx context.Context, w works, words []string, _ io.Reader, out io.Writer) error {
	w.turn.Lock()
	defer w.turn.Unlock()
	switch {
	case len(words) == 1 && words[0] == "list":
		return listKeys(ctx, w, out)
	case len(words) > 1 && words[0] == "rotate":
		return rotateKeys(ctx, w, slices.Contains(words, "mac"), slices.Contains(words, "sign"), out)
	case len(words) == 2 && words[0] == "drop":
		return dropKey(ctx, w, words[1], out)
	}
	return misused("say list, rotate, drop ID or export")
}

// listKeys shows the server keys and what hangs on each.
func listKeys(ctx context.Context, w works, out io.Writer) error {
	used, err := countKeys(ctx, w, out)
	if err != nil {
		return err
	}
	lacking, err := w.core.Lacking(ctx)
	if err != nil {
		return err
	}
	back := w.keys.HeldBack()
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tKIND\tCREATED\tFINGERPRINT\tSTATE\tHANGS ON IT")
	for _, k := range w.keys.List(time.Now()) {
		state := "former"
		switch {
		case k.Current:
			state = "current"
		case !k.SignsFrom.IsZero():
			state = "signs from " + k.SignsFrom.Format("2006-01-02 15:04")
		}
		if slices.Contains(back, k.ID) {
			state = "waits for all nodes"
		}
		if l := lacking[k.ID]; len(l) > 0 {
			state += "; missing on " + strings.Join(l, ", ")
		}
		n := "-"
		if k.Kind == "mac" {
			n = used[k.ID].String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Kind, k.Created.UTC().Format("2006-01-02 15:04"), k.Fingerprint, state, n)
	}
	return t.Flush()
}

// rotateKeys makes new keys beside the old ones. The file comes first: a key that something was made with is never
// lost. It is noted as needed before anything is made with it; in a fleet that is once every node holds it.
func rotateKeys(ctx context.Context, w works, mac, sign bool, out io.Writer) error {
	next, err := w.keys.Rotated(time.Now(), mac, sign)
	if err != nil {
		return err
	}
	fresh := newKeys(w.keys, next)
	if err := w.core.RecordKeys(ctx, authcore.CommandActor("keys"), "rotate", fresh); err != nil {
		return err
	}
	if err := next.Replace(w.keysFile); err != nil {
		return err
	}
	if w.fleet {
		w.core.TakeKeys(next)
		fmt.Fprintf(out, "%s: made, and not used yet. Copy %s to every other node and reload each (SIGHUP). As soon as all nodes hold it, it is used: see keys list.\n", fresh, w.keysFile)
		return nil
	}
	if err := authcore.NoteKeys(ctx, w.db, next); err != nil {
		return err
	}
	w.keys.Take(next)
	if mac {
		fmt.Fprintf(out, "%s is the current key. What hangs on the old one goes over to it at its next use: see keys list.\n", next.CurrentMAC())
	}
	if sign {
		k := next.Published(time.Now())
		fmt.Fprintf(out, "%s is published and signs in %v: until then, give it to upstreams that do not fetch keys (keys export).\n", k[1].ID, secret.PublishedBefore)
	}
	return nil
}

// newKeys names those that are not among the old ones.
func newKeys(old, next *secret.Keys) string {
	had := map[string]bool{}
	for _, k := range old.List(time.Now()) {
		had[k.ID] = true
	}
	var ids []string
	for _, k := range next.List(time.Now()) {
		if !had[k.ID] {
			ids = append(ids, k.ID)
		}
	}
	return strings.Join(ids, " ")
}

// dropKey takes a key away on which nothing hangs.
func dropKey(ctx context.Context, w works, id string, out io.Writer) error {
	less, err := w.keys.Without(id, time.Now())
	if err != nil {
		return err
	}
	used, err := countKeys(ctx, w, out)
	if err != nil {
		return err
	}
	if hang := used[id]; len(hang) > 0 {
		return fmt.Errorf("%s is needed: %s hang on it", id, hang)
	}
	if err := mayDrop(ctx, w, id); err != nil {
		return err
	}
	if err := w.core.RecordKeys(ctx, authcore.CommandActor("keys"), "drop", id); err != nil {
		return err
	}
	if err := authcore.ForgetKey(ctx, w.db, id); err != nil {
		return err
	}
	if err := less.Replace(w.keysFile); err != nil {
		return err
	}
	w.keys.Take(less)
	fmt.Fprintf(out, "%s is dropped. Backups made before need it: keep the old file of keys with them.\n", id)
	return nil
}

// mayDrop refuses to drop a key for fingerprints while other nodes live: they would call the same names otherwise, and
// count what is wrong apart from this one.
func mayDrop(ctx context.Context, w works, id string) error {
	if !w.fleet || !strings.HasPrefix(id, "m") {
		return nil
	}
	others, err := w.core.Others(ctx)
	if err != nil || len(others) == 0 {
		return err
	}
	return fmt.Errorf("%s is not dropped while other nodes run: stop %s, drop it here, copy %s to them and start them", id, strings.Join(others, ", "), w.keysFile)
}

// hanging counts what was made with a key, by the first part of the records' names.
type hanging map[string]int

func (h hanging) String() string {
	if len(h) == 0 {
		return "nothing"
	}
	var l []string
	for _, kind := range slices.Sorted(maps.Keys(h)) {
		l = append(l, fmt.Sprintf("%d of %s", h[kind], kind))
	}
	return strings.Join(l, ", ")
}

// countEvery is how many records lie between two words of progress.
const countEvery = 200_000

// countKeys walks every record: whatever is made with a key names it as key_id beside.
func countKeys(ctx context.Context, w works, out io.Writer) (map[string]hanging, error) {
	used := map[string]hanging{}
	n := 0
	for e, err := range w.db.Snapshot(ctx) {
		if err != nil {
			return nil, fmt.Errorf("count what hangs on the keys: %w", err)
		}
		if n++; n%countEvery == 0 {
			fmt.Fprintf(out, "%d records looked at\n", n)
		}
		if e.IsHead() || !bytes.Contains(e.Record.Value, []byte(`"key_id"`)) {
			continue
		}
		var v any
		if err := json.Unmarshal(e.Record.Value, &v); err != nil {
			return nil, fmt.Errorf("count what hangs on the keys: %s of %s is not readable", e.Record.Name, e.Partition)
		}
		kind, _, _ := strings.Cut(e.Record.Name, "/")
		tally(v, kind, used)
	}
	return used, nil
}

// tally counts every key_id in a value, however deep.
func tally(v any, kind string, used map[string]hanging) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			tally(x, kind, used)
		}
	case map[string]any:
		for name, x := range v {
			if id, ok := x.(string); ok && name == "key_id" {
				if used[id] == nil {
					used[id] = hanging{}
				}
				used[id][kind]++
			}
			tally(x, kind, used)
		}
	}
}

// reloadKeys takes the file of server keys anew, as somebody put it there; one that lacks a key stays out.
func (h *house) reloadKeys(ctx context.Context, file string) error {
	h.keysTurn.Lock()
	defer h.keysTurn.Unlock()
	next, err := secret.Load(file)
	if err != nil {
		return err
	}
	used, _, err := authcore.ReadUsedKeys(ctx, h.db)
	if err != nil {
		return err
	}
	if err := authcore.CheckUsedKeys(next, used, file, h.first.Fleet()); err != nil {
		return err
	}
	if !h.first.Fleet() {
		if err := authcore.NoteKeys(ctx, h.db, next); err != nil {
			return err
		}
	}
	h.core.TakeKeys(next)
	return nil
}

// exportKeys writes the public keys as Dovecot reads them: <azp or default>/<algorithm>/<kid>. Latchkey's tokens carry
// no azp. Keys of ours that sign no more are taken away.
func exportKeys(cfg *configs.Config, dir string, out io.Writer) error {
	keys, err := secret.Load(cfg.Keys)
	if err != nil {
		return err
	}
	now := time.Now()
	public, err := oidc.PublicKeys(keys, now)
	if err != nil {
		return err
	}
	at := filepath.Join(dir, "default", "ES256")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	for _, k := range public {
		path := filepath.Join(at, k.ID)
		if err := replaceFile(path, k.PEM, 0o644); err != nil {
			return err
		}
		fmt.Fprintln(out, path)
	}
	for _, k := range keys.List(now) {
		if k.Kind != "sign" || slices.ContainsFunc(public, func(p oidc.PublicKey) bool { return p.ID == k.ID }) {
			continue
		}
		if err := os.Remove(filepath.Join(at, k.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// replaceFile writes by rename, so that no reader sees half a file.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".latchkey-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
