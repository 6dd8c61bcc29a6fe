package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-webdav"
)

const (
	maxDAVObject      = 1 << 20  // bytes of one event or card: a contact with a photo
	maxDAVTree        = 32 << 20 // bytes of one person's objects
	maxDAVObjects     = 5000     // of one person; queries look at each
	maxDAVCollections = 50       // of one person
)

// tree is everything that one person keeps over CalDAV and CardDAV. Paths of collections end in a slash.
type tree struct {
	principal string // "/address/"
	calendars string // the calendar home
	books     string // the address book home
	now       func() time.Time

	mu          sync.Mutex
	collections map[string]*collection // guarded by mu
	size, count int                    // of all objects; guarded by mu
}

type collection struct {
	path, name, description string
	objects                 map[string]object
}

// object is an event, a task or a card as it was put, to the byte. It does not change.
type object struct {
	path     string
	data     []byte
	etag     string
	modified time.Time
}

func newTree(address string, now func() time.Time) *tree {
	root := "/" + address + "/"
	t := &tree{
		principal: root, calendars: root + "calendars/", books: root + "contacts/",
		now: now, collections: make(map[string]*collection),
	}
	t.put(&collection{path: t.calendars + "calendar/", name: "Calendar"})
	t.put(&collection{path: t.books + "contacts/", name: "Contacts"})
	return t
}

func (t *tree) put(c *collection) {
	c.objects = make(map[string]object)
	t.collections[c.path] = c
}

// davError is a refusal that the library tells by its HTTP status.
func davError(code int, text string) error { return webdav.NewHTTPError(code, errors.New(text)) }

func errNotFound() error { return davError(http.StatusNotFound, "nothing there") }

// list answers the collections in a home, in order.
func (t *tree) list(home string) []collection {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []collection
	for _, path := range slices.Sorted(maps.Keys(t.collections)) {
		if strings.HasPrefix(path, home) {
			found = append(found, *t.collections[path])
		}
	}
	return found
}

func (t *tree) collection(path string) (collection, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.collections[path]
	if c == nil {
		return collection{}, errNotFound()
	}
	return *c, nil
}

// make makes a collection, directly in home and nowhere else. It answers 0, or the HTTP status that says why not.
func (t *tree) make(home, path, name, description string) int {
	segment, ok := strings.CutPrefix(path, home)
	segment = strings.TrimSuffix(segment, "/")
	if !ok || segment == "" || strings.Contains(segment, "/") {
		return http.StatusForbidden
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	path = home + segment + "/"
	if t.collections[path] != nil {
		return http.StatusMethodNotAllowed // RFC 4918 section 9.3.1
	}
	if len(t.collections) >= maxDAVCollections {
		return http.StatusInsufficientStorage
	}
	t.put(&collection{path: path, name: name, description: description})
	return 0
}

// made turns what make answered into an error for the library.
func made(status int) error {
	if status == 0 {
		return nil
	}
	return davError(status, "no collection can be made there")
}

// objects answers what a collection holds, in order.
func (t *tree) objects(path string) ([]object, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.collections[path]
	if c == nil {
		return nil, errNotFound()
	}
	return slices.SortedFunc(maps.Values(c.objects), func(a, b object) int { return strings.Compare(a.path, b.path) }), nil
}

func (t *tree) object(path string) (object, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o, ok := t.homeOfLocked(path).get(path); ok {
		return o, nil
	}
	return object{}, errNotFound()
}

// homeOfLocked answers the collection that path lies in, or nil.
func (t *tree) homeOfLocked(path string) *collection {
	return t.collections[path[:strings.LastIndexByte(path, '/')+1]]
}

func (c *collection) get(path string) (object, bool) {
	if c == nil {
		return object{}, false
	}
	o, ok := c.objects[path]
	return o, ok
}

// store keeps data at path if the precondition holds.
func (t *tree) store(path string, data []byte, when precondition) (object, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.homeOfLocked(path)
	if c == nil || path == c.path { // RFC 4918 section 9.7.1: the parent must exist
		return object{}, davError(http.StatusConflict, "no such collection")
	}
	old, exists := c.objects[path]
	if err := when.check(old, exists); err != nil {
		return object{}, err
	}
	grown := len(data) - len(old.data)
	if t.size+grown > maxDAVTree || !exists && t.count >= maxDAVObjects {
		return object{}, davError(http.StatusInsufficientStorage, "the demo keeps no more for you")
	}
	sum := sha256.Sum256(data)
	o := object{path: path, data: data, etag: hex.EncodeToString(sum[:12]), modified: t.now()}
	c.objects[path] = o
	t.size += grown
	if !exists {
		t.count++
	}
	return o, nil
}

// remove removes an object or a whole collection if the precondition holds.
func (t *tree) remove(path string, when precondition) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.collections[path]; c != nil {
		for _, o := range c.objects {
			t.size -= len(o.data)
			t.count--
		}
		delete(t.collections, path)
		return nil
	}
	c := t.homeOfLocked(path)
	old, exists := c.get(path)
	if !exists {
		return errNotFound()
	}
	if err := when.check(old, exists); err != nil {
		return err
	}
	delete(c.objects, path)
	t.size -= len(old.data)
	t.count--
	return nil
}

// precondition is If-Match and If-None-Match of a request, RFC 9110 section 13.1. Its zero value always holds.
type precondition struct {
	match, noneMatch string
}

func preconditionOf(h http.Header) precondition {
	return precondition{match: h.Get("If-Match"), noneMatch: h.Get("If-None-Match")}
}

func (p precondition) check(o object, exists bool) error {
	if p.match != "" && !(exists && names(p.match, o.etag)) || p.noneMatch != "" && exists && names(p.noneMatch, o.etag) {
		return davError(http.StatusPreconditionFailed, "somebody else was faster")
	}
	return nil
}

// names says whether a list of entity tags has etag in it, or is the star. Weak tags never match a change.
func names(list, etag string) bool {
	if strings.TrimSpace(list) == "*" {
		return true
	}
	for tag := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(tag) == `"`+etag+`"` {
			return true
		}
	}
	return false
}
