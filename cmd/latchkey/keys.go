package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"latchkey/authcore/apppass"
	"latchkey/authcore/oidc"
	"latchkey/authcore/secret"
	"latchkey/configs"
)

func keysCommand(ctx context.Context, p program, args []string) error {
	dovecot := ""
	cfg, words, err := p.load("keys", args, func(f *flag.FlagSet) {
		f.StringVar(&dovecot, "dovecot", "", "export: `folder` that Dovecot's oauth2 passdb reads keys from (local_validation_key_dict)")
	})
	if err != nil {
		return err
	}
	switch {
	case slices.Equal(words, []string{"list"}):
		return inStore(ctx, cfg, p, storeWork{"keys", keysWork}, words, nil, p.out)
	case slices.Equal(words, []string{"export"}) && dovecot != "":
		return exportKeys(cfg, dovecot, p.out)
	case slices.Equal(words, []string{"export"}):
		return misused("export needs -dovecot FOLDER")
	default:
		return misused("say list or export")
	}
}

// keysWork shows the server keys and how many app passwords hang on each.
func keysWork(ctx context.Context, w works, _ []string, _ io.Reader, out io.Writer) error {
	used, err := countKeys(ctx, w)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tKIND\tCREATED\tFINGERPRINT\tCURRENT\tAPP PASSWORDS")
	for _, k := range w.keys.List() {
		n := "-"
		if k.Kind == "mac" {
			n = fmt.Sprint(used[k.ID])
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%v\t%s\n", k.ID, k.Kind, k.Created.UTC().Format("2006-01-02 15:04"), k.Fingerprint, k.Current, n)
	}
	return t.Flush()
}

func countKeys(ctx context.Context, w works) (map[string]int, error) {
	used := map[string]int{}
	prefix := strings.TrimSuffix(apppass.Key("", "").Name, "/") + "/"
	for e, err := range w.db.Snapshot(ctx) {
		if err != nil {
			return nil, fmt.Errorf("count app passwords: %w", err)
		}
		if e.IsHead() || !strings.HasPrefix(e.Record.Name, prefix) {
			continue
		}
		var r apppass.Record
		if err := json.Unmarshal(e.Record.Value, &r); err != nil {
			return nil, fmt.Errorf("count app passwords: %s of %s is not readable", e.Record.Name, e.Partition)
		}
		for _, it := range r.Items {
			used[it.KeyID]++
		}
	}
	return used, nil
}

// exportKeys writes the public keys as Dovecot reads them: <azp or default>/<algorithm>/<kid>. Latchkey's tokens carry
// no azp.
func exportKeys(cfg *configs.Config, dir string, out io.Writer) error {
	keys, err := secret.Load(cfg.Keys)
	if err != nil {
		return err
	}
	public, err := oidc.PublicKeys(keys)
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
