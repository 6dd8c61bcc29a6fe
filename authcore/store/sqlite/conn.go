package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"

	"modernc.org/sqlite"
)

// conn is one connection to the database, owned by one goroutine at a time. It uses the driver itself: database/sql
// would lock, pool and convert on every read.
type conn struct {
	c     driver.Conn
	stmts []*stmt
}

// role is what a connection is for.
type role int

const (
	reading role = iota
	writing
)

// pragmas of every connection. WAL with synchronous FULL syncs the log in every commit.
var (
	sharedPragmas = []string{
		"busy_timeout(5000)",
		"synchronous(FULL)",
		"cell_size_check(ON)",
		"trusted_schema(OFF)",
		"temp_store(MEMORY)",
	}
	writerPragmas = []string{
		"journal_mode(WAL)",
		"journal_size_limit(67108864)", // a log grown by a long snapshot gives its room back
		"secure_delete(FAST)",          // what was deleted is overwritten where it costs no extra write
		"cache_size(-2048)",            // KiB: the ends of the audit's pages and what a small house changes; more is the system's to hold
	}
	readerPragmas = []string{"query_only(ON)", "cache_size(-4096)"}
)

// openConn opens a database that exists; it never makes one.
func openConn(path string, r role) (*conn, error) {
	pragmas := append([]string{}, sharedPragmas...)
	if r == writing {
		pragmas = append(pragmas, writerPragmas...)
	} else {
		pragmas = append(pragmas, readerPragmas...)
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"mode": {"rw"}, "_pragma": pragmas}.Encode()}
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, fmt.Errorf("name the database: %w", err)
	}
	c, err := connector.Connect(context.Background())
	if err != nil {
		return nil, explain(path, err)
	}
	return &conn{c: c}, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.s.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

// exec runs SQL without arguments.
func (c *conn) exec(sql string) error {
	_, err := c.c.(driver.ExecerContext).ExecContext(context.Background(), sql, nil)
	return err
}

// number answers the one number of a query without arguments.
func (c *conn) number(sql string) (int64, error) {
	s, err := c.prepare(sql)
	if err != nil {
		return 0, err
	}
	var row [1]driver.Value
	found, err := s.one(row[:])
	if err != nil || !found {
		return 0, err
	}
	n, ok := row[0].(int64)
	if !ok {
		return 0, fmt.Errorf("%s: not a number", sql)
	}
	return n, nil
}

// stmt is a prepared statement. Names and values are bound as blobs: they are bytes, compared as bytes.
type stmt struct {
	s     driver.Stmt
	args  []driver.NamedValue
	texts []byte // what args point into: the driver copies them
}

// prepare makes a statement that is closed with its connection.
func (c *conn) prepare(sql string) (*stmt, error) {
	s, err := c.c.Prepare(sql)
	if err != nil {
		return nil, err
	}
	prepared := &stmt{s: s}
	c.stmts = append(c.stmts, prepared)
	return prepared, nil
}

// prepareAll fills the statements in, each from its SQL.
func (c *conn) prepareAll(list map[**stmt]string) error {
	for into, sql := range list {
		s, err := c.prepare(sql)
		if err != nil {
			return err
		}
		*into = s
	}
	return nil
}

func (s *stmt) bind(args []any) []driver.NamedValue {
	s.args, s.texts = s.args[:0], s.texts[:0]
	for i, a := range args {
		if text, ok := a.(string); ok {
			from := len(s.texts)
			s.texts = append(s.texts, text...)
			a = s.texts[from:]
		}
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return s.args
}

func (s *stmt) exec(args ...any) error {
	_, err := s.s.(driver.StmtExecContext).ExecContext(context.Background(), s.bind(args))
	return err
}

// change is exec of a statement that changes records, and answers how many.
func (s *stmt) change(args ...any) (int64, error) {
	res, err := s.s.(driver.StmtExecContext).ExecContext(context.Background(), s.bind(args))
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (s *stmt) query(args ...any) (driver.Rows, error) {
	return s.s.(driver.StmtQueryContext).QueryContext(context.Background(), s.bind(args))
}

// one reads the first row into row and reports whether there was one.
func (s *stmt) one(row []driver.Value, args ...any) (bool, error) {
	rows, err := s.query(args...)
	if err != nil {
		return false, err
	}
	err = rows.Next(row)
	if closed := rows.Close(); err == nil {
		err = closed
	}
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

// each calls visit for every row, which it may keep the bytes of, until visit answers false or an error.
func (s *stmt) each(row []driver.Value, visit func() (bool, error), args ...any) error {
	rows, err := s.query(args...)
	if err != nil {
		return err
	}
	for more := true; more && err == nil; {
		if err = rows.Next(row); err == nil {
			more, err = visit()
		}
	}
	if closed := rows.Close(); err == nil {
		err = closed
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// transact runs do in a transaction: committed if it answers nil.
func (c *conn) transact(do func() error) error {
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := do()
	if err == nil {
		if err = c.exec("COMMIT"); err == nil {
			return nil
		}
	}
	// SQLite may have rolled back by itself, and then says that there is no transaction: that error tells nothing.
	_ = c.exec("ROLLBACK")
	return err
}
