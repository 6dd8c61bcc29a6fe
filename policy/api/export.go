package api

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"latchkey/authcore/audit"
)

// exportPage is how many entries an export holds at once: its memory does not grow with what it exports.
const exportPage = 500

// Entries answers a part of what is exported, and where to go on.
type Entries func(after string, limit int) ([]audit.Entry, string, error)

// Export streams every entry, page by page. What is refused or broken before the first byte is an error; after it, the
// connection breaks.
func Export(ctx context.Context, more Entries, contentType string, form func(io.Writer) audit.Form) (func(http.ResponseWriter), error) {
	l, next, err := more("", exportPage)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		out := form(begin(w, contentType))
		for {
			err := writeAll(out, l)
			if err == nil && next == "" {
				return
			}
			if err == nil {
				Extend(ctx)
				l, next, err = more(next, exportPage)
			}
			if err != nil {
				Abort(ctx, err)
			}
		}
	}, nil
}

func writeAll(out audit.Form, l []audit.Entry) error {
	for _, e := range l {
		if err := out.Write(e); err != nil {
			return err
		}
	}
	return out.Flush()
}

// ExportStream is Export as an operation's output.
func ExportStream(ctx context.Context, more Entries, contentType string, form func(io.Writer) audit.Form) (*Stream, error) {
	write, err := Export(ctx, more, contentType, form)
	if err != nil {
		return nil, err
	}
	return &Stream{Body: func(h huma.Context) {
		_, w := humago.Unwrap(h)
		write(w)
	}}, nil
}
