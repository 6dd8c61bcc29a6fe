package sqlite

import (
	"fmt"
	"strconv"
)

// A migration is one step of the database's version. Steps are only ever added at the end: the version of a database is
// how many of them it has seen.
type migration struct {
	name string
	sql  string
}

var migrations = []migration{
	{"records and the revisions of their partitions", `
		PRAGMA application_id = ` + strconv.Itoa(applicationID) + `;
		CREATE TABLE store (id TEXT NOT NULL) STRICT;
		CREATE TABLE partition (
			name     BLOB NOT NULL PRIMARY KEY,
			revision INTEGER NOT NULL, -- highest given out
			crc      INTEGER NOT NULL
		) STRICT, WITHOUT ROWID;
		CREATE TABLE record (
			partition BLOB NOT NULL,
			name      BLOB NOT NULL,
			revision  INTEGER NOT NULL,
			expires   INTEGER NOT NULL, -- milliseconds since 1970, 0: never
			crc       INTEGER NOT NULL, -- over all other columns
			value     BLOB NOT NULL,
			PRIMARY KEY (partition, name)
		) STRICT, WITHOUT ROWID;
		CREATE INDEX record_expires ON record (expires, partition, name) WHERE expires > 0;
	`},
}

// migrate brings the database to the last step. Each step is a transaction of its own together with its number, so that
// a stop in between resumes where it was.
func (c *conn) migrate(steps []migration) error {
	version, err := c.number("PRAGMA user_version")
	if err != nil {
		return err
	}
	if version < 0 || version > int64(len(steps)) {
		return fmt.Errorf("%w: it is of version %d and this program knows versions up to %d: run the newer program, or restore a backup",
			ErrNewer, version, len(steps))
	}
	for i := int(version); i < len(steps); i++ {
		err := c.transact(func() error {
			if err := c.exec(steps[i].sql); err != nil {
				return err
			}
			return c.exec("PRAGMA user_version = " + strconv.Itoa(i+1))
		})
		if err != nil {
			return fmt.Errorf("migration %d (%s): %w", i+1, steps[i].name, err)
		}
	}
	return nil
}
