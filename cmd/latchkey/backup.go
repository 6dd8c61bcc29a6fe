package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/backup"
	"latchkey/authcore/store/sqlite"
	"latchkey/configs"

	"flag"
)

func backupCommand(ctx context.Context, p program, args []string) error {
	var out, keysOut, passFile string
	cfg, words, err := p.load("backup", args, func(f *flag.FlagSet) {
		f.StringVar(&out, "out", "", "`file` to write, which must not exist; without it standard output")
		f.StringVar(&keysOut, "with-keys", "", "second new `file` for the server keys, under a passphrase; needs -out")
		f.StringVar(&passFile, "passphrase-file", "", "`file` (0600) whose first line is the passphrase; without it the terminal asks")
	})
	if err != nil {
		return err
	}
	if len(words) > 0 {
		return misused("%q is not understood: the file goes behind -out", words[0])
	}
	work := storeWork{"backup", backupWork}
	if out == "" && keysOut != "" {
		return misused("-with-keys goes with -out")
	}
	if out == "" {
		return inStore(ctx, cfg, p, work, nil, nil, p.out)
	}
	var pass secret.String
	if keysOut != "" {
		if pass, err = newPassphrase(passFile, keysOut); err != nil {
			return err
		}
	}
	err = writeFile(out, func(w io.Writer) error {
		return metered(ctx, w, newMeter(p.err, "backup", 0), func(w io.Writer) error { return inStore(ctx, cfg, p, work, nil, nil, w) })
	}, p.err)
	if err == nil && keysOut != "" {
		err = backupKeys(cfg, keysOut, out, pass)
	}
	return err
}

// newPassphrase asks before the long work begins what would stop its end.
func newPassphrase(file, keysOut string) (secret.String, error) {
	if _, err := os.Lstat(keysOut); err == nil {
		return secret.String{}, fmt.Errorf("%s exists: keys are never written over another file", keysOut)
	}
	pass, err := passphrase(file, true)
	if err == nil && len(pass.Reveal()) < secret.MinPassphrase {
		err = fmt.Errorf("a passphrase has %d characters at least", secret.MinPassphrase)
	}
	return pass, err
}

// writeFile writes a new file whole or not at all: beside it first, synced, verified, then renamed.
func writeFile(path string, write func(io.Writer) error, progress io.Writer) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s exists: a backup is never written over another file", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".latchkey-backup-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = verified(f, progress, path)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// verified reads back what was written before anybody relies on it.
func verified(f *os.File, progress io.Writer, path string) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h, n, err := backup.Verify(context.Background(), f, backup.RestoreOptions{})
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "%s: %d records, %d bytes, verified; it needs the server keys %v, which it does not hold\n", path, n.Records, n.Bytes, h.Keys)
	return nil
}

// backupWork streams a consistent snapshot.
func backupWork(ctx context.Context, w works, _ []string, _ io.Reader, out io.Writer) error {
	entries, used, stop, err := beginSnapshot(ctx, w, w.db.Snapshot(ctx))
	if err != nil {
		return err
	}
	defer stop()
	_, err = backup.Write(ctx, out, backup.Header{Store: w.db.ID(), Created: time.Now(), Keys: used.IDs}, entries, backup.WriteOptions{Gzip: true})
	return err
}

// beginSnapshot takes the first step of a snapshot, with which it stands still, and reads which keys it needs before
// anybody can change them: a key that is rotated in between would be missing in the header.
func beginSnapshot(ctx context.Context, w works, snapshot iter.Seq2[store.Entry, error]) (iter.Seq2[store.Entry, error], authcore.UsedKeys, func(), error) {
	w.turn.Lock()
	defer w.turn.Unlock()
	next, stop := iter.Pull2(snapshot)
	first, firstErr, more := next()
	used, _, err := authcore.ReadUsedKeys(ctx, w.db)
	if err != nil {
		stop()
		return nil, authcore.UsedKeys{}, nil, err
	}
	return func(yield func(store.Entry, error) bool) {
		for e, err, ok := first, firstErr, more; ok && yield(e, err); {
			e, err, ok = next()
		}
	}, used, stop, nil
}

func restoreCommand(ctx context.Context, p program, args []string) error {
	var keysIn, passFile string
	cfg, words, err := p.load("restore", args, func(f *flag.FlagSet) {
		f.StringVar(&keysIn, "with-keys", "", "`file` of server keys that backup -with-keys wrote, to be put in their place first")
		f.StringVar(&passFile, "passphrase-file", "", "`file` (0600) whose first line is its passphrase; without it the terminal asks")
	})
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return misused("name one backup file")
	}
	if keysIn != "" {
		pass, err := passphrase(passFile, false)
		if err != nil {
			return err
		}
		if err := restoreKeys(cfg, keysIn, words[0], pass); err != nil {
			return err
		}
	}
	f, err := os.Open(words[0])
	if err != nil {
		return err
	}
	defer f.Close()
	r := restoring{cfg: cfg, p: p, file: f, accept: func(h backup.Header) error { return haveKeys(cfg, h) }}
	if _, r.holds, err = backup.Verify(ctx, f, backup.RestoreOptions{Accept: r.accept, Progress: newMeter(p.err, "verify", 0).at}); err != nil {
		return err
	}
	if err := r.restore(ctx); err != nil || cfg.Fleet() {
		return err
	}
	return forgetRedis(cfg)
}

// restoring is one restore of a file that was verified.
type restoring struct {
	cfg    *configs.Config
	p      program
	file   io.ReadSeeker
	holds  backup.Counts
	accept func(backup.Header) error
}

// haveKeys refuses a backup whose keys are not there: its app passwords would all be dead.
func haveKeys(cfg *configs.Config, h backup.Header) error {
	keys, err := secret.Load(cfg.Keys)
	if err != nil {
		return fmt.Errorf("the backup needs the server keys %v: %w", h.Keys, err)
	}
	return lackKeys(keys, h.Keys, cfg.Keys)
}

// restore writes into a store that does not exist yet or is empty, or takes the place of an embedded one that is lost.
func (r restoring) restore(ctx context.Context) error {
	if err := ownStore(r.cfg); err != nil {
		return err
	}
	h := &house{log: newLog(configs.Log{Level: "error", Format: "text"}, r.p.err, newLevel())}
	db, err := h.openToRestore(ctx, r.cfg)
	if errors.Is(err, sqlite.ErrLost) {
		return r.replaceLost(ctx, err)
	}
	if err != nil {
		return err
	}
	return r.into(ctx, db)
}

// into writes everything and then compares what is there with the file: a move is done when nothing differs.
func (r restoring) into(ctx context.Context, db restorable) error {
	err := r.write(ctx, db)
	if err == nil {
		err = r.rewound(func() error { return compare(ctx, r.file, db, newMeter(r.p.err, "compare", r.holds.Records)) })
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	fmt.Fprintf(r.p.out, "Restored %d records. Each was compared with the backup.\n", r.holds.Records)
	return nil
}

// restorable is what a restore needs of an engine.
type restorable interface {
	store.Restorer
	store.Snapshotter
	Close() error
}

func (r restoring) write(ctx context.Context, db restorable) error {
	return r.rewound(func() error {
		m := newMeter(r.p.err, "verify", r.holds.Records) // once more: the file may have changed
		m.then = "restore"
		_, n, err := backup.Restore(ctx, r.file, db, backup.RestoreOptions{Accept: r.accept, Progress: m.at})
		if err == nil {
			m.tell(n)
		}
		return err
	})
}

// rewound does what reads the file from its beginning.
func (r restoring) rewound(f func() error) error {
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the backup again: %w", err)
	}
	return f()
}

// replaceLost restores beside, and moves database and marker into their places only when all is there. Whenever it is
// interrupted, the old marker, or a marker that the database does not match, keeps a server from starting on less.
func (r restoring) replaceLost(ctx context.Context, lost error) error {
	cfg := r.cfg
	if found := remains(cfg.Data); found != "" {
		return fmt.Errorf("%w\nnothing is restored while %s is there: move it away", lost, found)
	}
	fmt.Fprintf(r.p.err, "The store that %s speaks of is lost: a new one takes its place.\n", markerOf(cfg))
	dir, err := os.MkdirTemp(cfg.Data, "restore-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	beside := sqlite.Options{Dir: dir, Marker: markerOf(cfg) + ".restored"}
	defer os.Remove(beside.Marker)
	db, err := sqlite.Open(ctx, beside)
	if err != nil {
		return err
	}
	if err := r.into(ctx, db); err != nil {
		return err
	}
	for _, name := range databases(dir) {
		if err := os.Rename(name, filepath.Join(cfg.Data, filepath.Base(name))); err != nil {
			return err
		}
	}
	if err := syncDir(cfg.Data); err != nil {
		return err
	}
	if err := os.Rename(beside.Marker, markerOf(cfg)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(markerOf(cfg)))
}

// databases are the files of a store in a folder: the database and, beside it, what was not yet written into it.
func databases(dir string) []string {
	l, _ := filepath.Glob(filepath.Join(dir, "*.db*")) // the pattern is good
	return l
}

// remains names a file of a store with something in it.
func remains(dir string) string {
	for _, name := range databases(dir) {
		if st, err := os.Stat(name); err != nil || st.Size() > 0 {
			return name
		}
	}
	return ""
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
