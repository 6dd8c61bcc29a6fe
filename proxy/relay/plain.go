package relay

import (
	"fmt"
	"io"
)

// pump passes every octet of one side on, until that side ends. The last of the two finishes the session.
func (s *Session) pump(from, to *leg) {
	defer s.pumped()
	src := s.source(from)
	defer src.free()
	for {
		p, err := src.next()
		switch {
		case err == io.EOF:
			s.half(from)
			if !to.closeWrite() {
				s.fail(nil)
			}
			return
		case err != nil:
			s.lose(from, fmt.Errorf("read from %s: %w", from.name, err))
			return
		}
		if err := s.write(to, p); err != nil {
			s.lose(to, err)
			return
		}
		from.came.Add(int64(len(p)))
	}
}

func (s *Session) pumped() {
	if s.pumps.Add(-1) == 0 {
		s.finish()
	}
}
