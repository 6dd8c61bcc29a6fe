package memory

// list is a doubly linked list whose nodes lie inside their owners, so that moving one allocates nothing. The zero
// list is empty.
type list[T any] struct{ first, last *node[T] }

type node[T any] struct {
	owner      *T
	prev, next *node[T]
	linked     bool
}

// back answers the owner of the last node, nil if the list is empty.
func (l *list[T]) back() *T {
	if l.last == nil {
		return nil
	}
	return l.last.owner
}

// toFront puts n first, whether it was in the list or not.
func (l *list[T]) toFront(n *node[T]) {
	if l.first == n {
		return
	}
	l.remove(n)
	n.next, n.linked = l.first, true
	if l.first != nil {
		l.first.prev = n
	} else {
		l.last = n
	}
	l.first = n
}

// remove takes n out; one that is not in the list stays out.
func (l *list[T]) remove(n *node[T]) {
	if !n.linked {
		return
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		l.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		l.last = n.prev
	}
	n.prev, n.next, n.linked = nil, nil, false
}
