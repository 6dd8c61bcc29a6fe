package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"latchkey/authcore/store"
)

// maxFindings is how many damages Verify names: an operator restores after the first few.
const maxFindings = 20

// Verify reads the whole store and answers what is damaged, joined: pages of the file, records and partitions whose
// checksum does not hold, records without a partition. It takes as long as reading the file.
func (db *DB) Verify(ctx context.Context) error {
	c, err := openConn(db.path, reading)
	if err != nil {
		return err
	}
	defer c.close()
	findings, err := c.checkPages()
	if err == nil && len(findings) == 0 {
		findings, err = db.checkRecords(ctx, c)
	}
	if err != nil {
		findings = append(findings, explain(db.path, err))
	}
	return errors.Join(findings...)
}

func (c *conn) checkPages() (findings []error, err error) {
	s, err := c.prepare(fmt.Sprintf("PRAGMA quick_check(%d)", maxFindings))
	if err != nil {
		return nil, err
	}
	var row [1]driver.Value
	err = s.each(row[:], func() (bool, error) {
		if said, _ := row[0].(string); said != "ok" {
			findings = append(findings, fmt.Errorf("%w: %s", store.ErrCorrupt, said))
		}
		return true, nil
	})
	return findings, err
}

func (db *DB) checkRecords(ctx context.Context, c *conn) (findings []error, err error) {
	for _, err := range db.Snapshot(ctx) {
		switch {
		case err == nil:
		case errors.Is(err, store.ErrCorrupt) && len(findings) < maxFindings:
			findings = append(findings, err)
		default:
			return append(findings, err), nil
		}
	}
	orphans, err := c.number("SELECT count(*) FROM record WHERE partition NOT IN (SELECT name FROM partition)")
	if err == nil && orphans > 0 {
		findings = append(findings, fmt.Errorf("%w: %d records without their partition", store.ErrCorrupt, orphans))
	}
	return findings, err
}
