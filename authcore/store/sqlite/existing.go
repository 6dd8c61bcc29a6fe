package sqlite

import (
	"crypto/rand"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"latchkey/authcore/store"
)

// applicationID stands in the header of the database: "Ltch".
const applicationID = 0x4c746368

// openStore answers the writer's connection to a migrated store, and the store's id.
//
// The marker is written after the database is there with its id, and before anyone may write a record. So a marker
// without its database means loss, and a database without marker means at most a crash before the first record, or an
// operator who removed the marker on purpose.
func openStore(path, marker string, steps []migration) (*conn, string, error) {
	wanted, err := readMarker(marker)
	if err != nil {
		return nil, "", err
	}
	if err := findDatabase(path, marker, wanted); err != nil {
		return nil, "", err
	}
	c, err := openConn(path, writing)
	if err != nil {
		return nil, "", err
	}
	id, err := c.identify(path, marker, wanted, steps)
	if err != nil {
		c.close()
		return nil, "", explain(path, err)
	}
	return c, id, nil
}

// findDatabase looks for the database before SQLite would make an empty one, and makes it only where none was.
func findDatabase(path, marker, wanted string) error {
	size, err := sizeOf(path)
	if err != nil {
		return err
	}
	if size > 0 {
		return os.Chmod(path, 0o600)
	}
	if wanted != "" {
		return lost(path, marker, wanted, "is missing or empty")
	}
	if wal, err := sizeOf(path + "-wal"); err != nil || wal > 0 {
		return errors.Join(err, fmt.Errorf("%w: %s-wal holds changes to a database that is missing or empty: bring %s back, or remove that file too",
			ErrLost, path, path))
	}
	return makeDatabase(path)
}

func lost(path, marker, wanted, what string) error {
	return fmt.Errorf("%w: %s says that store %s existed here, and %s %s: bring the file back or restore a backup; only if the loss is meant, remove %s and an empty store is made",
		ErrLost, marker, wanted, path, what, marker)
}

func makeDatabase(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("%w: make the database: %w", store.ErrUnavailable, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("%w: make the database: %w", store.ErrUnavailable, err)
	}
	return syncDir(filepath.Dir(path))
}

// sizeOf answers 0 for a file that is not there.
func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%w: look for the database: %w", store.ErrUnavailable, err)
	}
	return info.Size(), nil
}

// identify holds the database against the marker, brings it to this program's version, and sees to it that both carry
// the same id.
func (c *conn) identify(path, marker, wanted string, steps []migration) (string, error) {
	id, err := c.id(path)
	if err != nil {
		return "", err
	}
	switch {
	case wanted != "" && id == "":
		return "", lost(path, marker, wanted, "is an empty database")
	case wanted != "" && id != wanted:
		return "", lost(path, marker, wanted, "is that of store "+id)
	}
	if err := c.requireWAL(); err != nil {
		return "", err
	}
	if err := c.migrate(steps); err != nil {
		return "", err
	}
	if id == "" {
		if id, err = c.makeID(); err != nil {
			return "", err
		}
	}
	if wanted == "" {
		err = writeMarker(marker, id)
	}
	return id, err
}

// id answers the id in the database, empty if it was never migrated, and refuses a database of something else.
func (c *conn) id(path string) (string, error) {
	application, err := c.number("PRAGMA application_id")
	if err != nil {
		return "", err
	}
	tables, err := c.number("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")
	if err != nil {
		return "", err
	}
	if application != applicationID && (application != 0 || tables != 0) {
		return "", fmt.Errorf("%w: %s", ErrForeign, path)
	}
	if tables == 0 {
		return "", nil
	}
	s, err := c.prepare("SELECT id FROM store")
	if err != nil {
		return "", err
	}
	var row [1]driver.Value
	if _, err := s.one(row[:]); err != nil {
		return "", err
	}
	id, _ := row[0].(string)
	return id, nil
}

func (c *conn) makeID() (string, error) {
	var raw [16]byte
	rand.Read(raw[:]) // never fails
	id := hex.EncodeToString(raw[:])
	return id, c.exec("INSERT INTO store (id) VALUES ('" + id + "')")
}

// requireWAL: some file systems cannot share memory between connections, and SQLite then stays in another mode.
func (c *conn) requireWAL() error {
	s, err := c.prepare("PRAGMA journal_mode")
	if err != nil {
		return err
	}
	var row [1]driver.Value
	if _, err := s.one(row[:]); err != nil {
		return err
	}
	if mode, _ := row[0].(string); mode != "wal" {
		return fmt.Errorf("%w: the file system cannot hold a write-ahead log (journal mode %q): put the data directory on a local disk", store.ErrUnavailable, row[0])
	}
	return nil
}

const markerPrefix = "latchkey store "

// readMarker answers the id in the marker, empty if there is none. A marker that cannot be read is not taken for absent.
func readMarker(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%w: read the marker: %w", store.ErrUnavailable, err)
	}
	id, ok := strings.CutPrefix(strings.TrimSpace(string(text)), markerPrefix)
	if !ok || id == "" {
		return "", fmt.Errorf("%w: the marker %s does not name a store: write back %q and the id, or, if the database beside it is the right one, remove the marker",
			ErrLost, path, markerPrefix)
	}
	return id, nil
}

// writeMarker puts the marker there whole or not at all, and on disk.
func writeMarker(path, id string) error {
	temporary := path + ".new"
	err := writeSynced(temporary, markerPrefix+id+"\n")
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("%w: write the marker: %w", store.ErrUnavailable, err)
	}
	return nil
}

func writeSynced(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
