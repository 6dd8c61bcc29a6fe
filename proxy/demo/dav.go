package demo

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/emersion/go-webdav"
	"github.com/emersion/go-webdav/caldav"
	"github.com/emersion/go-webdav/carddav"
)

// userHeader is believed: the door removes every copy that a client sent.
const userHeader = "X-Remote-User"

// DAV answers the CalDAV and CardDAV server. The caller serves it, with deadlines, and stops it.
func (s *Server) DAV() http.Handler { return http.HandlerFunc(s.serveDAV) }

func (s *Server) serveDAV(w http.ResponseWriter, r *http.Request) {
	p := s.remoteUser(r.Header)
	if p == nil {
		http.Error(w, "who are you?", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxDAVObject)
	switch r.URL.Path {
	case "/.well-known/caldav", "/.well-known/carddav": // RFC 6764 section 5
		http.Redirect(w, r, p.dav.principal, http.StatusPermanentRedirect)
		return
	case "/":
		servePrincipal(w, r, p.dav)
		return
	}
	if !clean(r.URL.Path) {
		http.Error(w, "malformed path", http.StatusBadRequest)
		return
	}
	if within, ok := strings.CutPrefix(r.URL.Path+"/", p.dav.principal); ok {
		serveTree(w, r, p.dav, within)
		return
	}
	http.Error(w, "that is somebody else's", http.StatusForbidden)
}

// remoteUser answers whom the proxy names. Two names are no name.
func (s *Server) remoteUser(h http.Header) *person {
	if names := h.Values(userHeader); len(names) == 1 {
		return s.people.find(names[0])
	}
	return nil
}

// clean refuses paths that two readers may take for different ones.
func clean(p string) bool {
	trimmed := strings.TrimSuffix(p, "/")
	return path.Clean(p) == trimmed && !strings.ContainsAny(p, "\\\x00")
}

// serveTree serves what lies below a principal; within is the path from there, with a slash at its end.
func serveTree(w http.ResponseWriter, r *http.Request, t *tree, within string) {
	segments := strings.Split(strings.TrimRight(within, "/"), "/")
	if len(segments) <= 2 && r.URL.Path[len(r.URL.Path)-1] != '/' {
		r.URL.Path += "/" // homes and collections are named with a slash
	}
	switch segments[0] {
	case "":
		servePrincipal(w, r, t)
	case "calendars":
		serveHome(w, r, t, t.calendars, calendarType, len(segments) == 3)
	case "contacts":
		serveHome(w, r, t, t.books, cardType, len(segments) == 3)
	default:
		http.NotFound(w, r)
	}
}

const (
	calendarType = "text/calendar; charset=utf-8"
	cardType     = "text/vcard; charset=utf-8"
)

// serveHome does what the library does not, or not to the byte, and leaves it the rest.
func serveHome(w http.ResponseWriter, r *http.Request, t *tree, home, mediaType string, isObject bool) {
	req := davRequest{tree: t, when: preconditionOf(r.Header)}
	switch {
	case isObject && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		serveObject(w, r, t, mediaType)
		return
	case r.Method == http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			tellBody(w, err)
			return
		}
		req.body = body
		r.Body = io.NopCloser(bytes.NewReader(body))
	case r.Method == "MKCALENDAR":
		makeCalendar(w, r, t)
		return
	case r.Method == "PROPFIND":
		orAllProperties(r)
	}
	if home == t.calendars {
		(&caldav.Handler{Backend: calendarBackend{req}}).ServeHTTP(w, r)
	} else {
		(&carddav.Handler{Backend: cardBackend{req}}).ServeHTTP(w, r)
	}
}

// davRequest is one request on the way through the library, which passes neither its headers nor its bytes on.
type davRequest struct {
	tree *tree
	when precondition
	body []byte // of a PUT, as it came
}

func serveObject(w http.ResponseWriter, r *http.Request, t *tree, mediaType string) {
	o, err := t.object(r.URL.Path)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("ETag", `"`+o.etag+`"`)
	http.ServeContent(w, r, "", o.modified, bytes.NewReader(o.data))
}

func tellBody(w http.ResponseWriter, err error) {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		http.Error(w, "too large for the demo", http.StatusRequestEntityTooLarge)
		return
	}
	http.Error(w, "the request ended early", http.StatusBadRequest)
}

// servePrincipal tells where calendars and address books are. The libraries' own handlers know one of them each.
func servePrincipal(w http.ResponseWriter, r *http.Request, t *tree) {
	if r.Method == "PROPFIND" {
		orAllProperties(r)
	}
	webdav.ServePrincipal(w, r, &webdav.ServePrincipalOptions{
		CurrentUserPrincipalPath: t.principal,
		HomeSets: []webdav.BackendSuppliedHomeSet{
			caldav.NewCalendarHomeSet(t.calendars),
			carddav.NewAddressBookHomeSet(t.books),
		},
		Capabilities: []webdav.Capability{caldav.CapabilityCalendar, carddav.CapabilityAddressBook},
	})
}

// orAllProperties reads an empty PROPFIND as one for all properties, RFC 4918 section 9.1.
func orAllProperties(r *http.Request) {
	if r.ContentLength != 0 {
		return
	}
	r.Header.Set("Content-Type", "application/xml")
	r.Body = io.NopCloser(strings.NewReader(`<propfind xmlns="DAV:"><allprop/></propfind>`))
}

// mkcalendar is the body of MKCALENDAR, RFC 4791 section 9.2: what the demo keeps of it.
type mkcalendar struct {
	XMLName xml.Name `xml:"urn:ietf:params:xml:ns:caldav mkcalendar"`
	Set     struct {
		Prop struct {
			Name        string `xml:"DAV: displayname"`
			Description string `xml:"urn:ietf:params:xml:ns:caldav calendar-description"`
		} `xml:"DAV: prop"`
	} `xml:"DAV: set"`
}

func makeCalendar(w http.ResponseWriter, r *http.Request, t *tree) {
	var m mkcalendar
	if err := xml.NewDecoder(r.Body).Decode(&m); err != nil && !errors.Is(err, io.EOF) {
		http.Error(w, "malformed MKCALENDAR", http.StatusBadRequest)
		return
	}
	if status := t.make(t.calendars, r.URL.Path, m.Set.Prop.Name, m.Set.Prop.Description); status != 0 {
		http.Error(w, "no calendar can be made there", status)
		return
	}
	w.Header().Set("Cache-Control", "no-cache") // RFC 4791 section 5.3.1
	w.WriteHeader(http.StatusCreated)
}
