package memory

import "time"

// A set holds members by the time they were added last, newest in front. It keeps them for the longest window that was
// asked for. Its methods answer what they changed: members and bytes, for the bounds of the engine.
type set struct {
	members map[string]*member
	order   list[member]
	keep    time.Duration
}

type member struct {
	name  string
	added time.Time
	node  node[member]
}

func newSet() *set { return &set{members: make(map[string]*member)} }

func (s *set) size() int { return len(s.members) }

func (s *set) add(name string, now time.Time, window time.Duration) (entries, bytes int) {
	s.keep = max(s.keep, window)
	m := s.members[name]
	if m == nil {
		m = &member{name: name}
		m.node.owner = m
		s.members[name] = m
		entries, bytes = 1, len(name)+overhead
	}
	m.added = now
	s.order.toFront(&m.node)
	return entries, bytes
}

// prune drops the members that no window reaches any more, and the oldest over MaxMembers.
func (s *set) prune(now time.Time) (entries, bytes int) {
	for m := s.order.back(); m != nil; m = s.order.back() {
		if len(s.members) <= MaxMembers && within(m, now, s.keep) {
			break
		}
		n, b := s.remove(m.name)
		entries, bytes = entries+n, bytes+b
	}
	return entries, bytes
}

func (s *set) remove(name string) (entries, bytes int) {
	m := s.members[name]
	if m == nil {
		return 0, 0
	}
	delete(s.members, name)
	s.order.remove(&m.node)
	return -1, -len(name) - overhead
}

func (s *set) clear() (entries, bytes int) {
	for name := range s.members {
		n, b := s.remove(name)
		entries, bytes = entries+n, bytes+b
	}
	return entries, bytes
}

// count counts the members within the window; after prune, those of the longest window are simply all.
func (s *set) count(now time.Time, window time.Duration) int {
	if window >= s.keep {
		return len(s.members)
	}
	n := 0
	for m := s.order.first; m != nil && within(m.owner, now, window); m = m.next {
		n++
	}
	return n
}

func (s *set) newest(now time.Time, window time.Duration, limit int) []string {
	var names []string
	for m := s.order.first; m != nil && len(names) < limit && within(m.owner, now, window); m = m.next {
		names = append(names, m.owner.name)
	}
	return names
}

// within: a member that was added exactly one window ago is out.
func within(m *member, now time.Time, window time.Duration) bool {
	return now.Sub(m.added) < window
}
