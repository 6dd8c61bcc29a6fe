package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-vcard"
	"github.com/emersion/go-webdav"
	"github.com/emersion/go-webdav/caldav"
	"github.com/emersion/go-webdav/carddav"
)

const (
	calendarPath = "/" + alice + "/calendars/calendar/"
	bookPath     = "/" + alice + "/contacts/contacts/"
)

// as names the user, as the door does.
type as string

func (who as) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set(userHeader, string(who))
	return http.DefaultClient.Do(r)
}

func event(uid, rule string) string {
	lines := []string{"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN", "BEGIN:VEVENT", "UID:" + uid,
		"DTSTAMP:20260101T000000Z", "DTSTART:20260102T100000Z", "DTEND:20260102T110000Z", "SUMMARY:Lunch"}
	if rule != "" {
		lines = append(lines, "RRULE:"+rule)
	}
	return strings.Join(append(lines, "END:VEVENT", "END:VCALENDAR", ""), "\r\n")
}

const card = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:c1\r\nFN:Carol\r\nEMAIL;TYPE=work,home:carol@away.example\r\nEND:VCARD\r\n"

// request sends one request as who and answers its status and body.
func (d *started) request(t *testing.T, who, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, d.dav+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	noRedirect := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if who != "" {
		r.Header.Add(userHeader, who)
	}
	resp, err := noRedirect.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(got)
}

func (d *started) status(t *testing.T, who, method, path, body string, header ...string) int {
	t.Helper()
	resp, _ := d.request(t, who, method, path, body, header...)
	return resp.StatusCode
}

func TestCalDAVDiscoveryAndEvents(t *testing.T) {
	d := start(t)
	ctx := context.Background()
	dav, err := webdav.NewClient(as(alice), d.dav)
	if err != nil {
		t.Fatal(err)
	}
	principal, err := dav.FindCurrentUserPrincipal(ctx)
	if err != nil || principal != "/"+alice+"/" {
		t.Fatalf("principal %q, %v", principal, err)
	}
	c, err := caldav.NewClient(as(alice), d.dav)
	if err != nil {
		t.Fatal(err)
	}
	home, err := c.FindCalendarHomeSet(ctx, principal)
	if err != nil {
		t.Fatalf("home: %v", err)
	}
	calendars, err := c.FindCalendars(ctx, home)
	if err != nil || len(calendars) != 1 || calendars[0].Name != "Calendar" || calendars[0].Path != calendarPath {
		t.Fatalf("calendars %+v, %v", calendars, err)
	}

	day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for _, text := range []string{event("e1", ""), event("e2", "FREQ=DAILY;COUNT=3")} {
		parsed, err := ical.NewDecoder(strings.NewReader(text)).Decode()
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := parsed.Children[0].Props.Text(ical.PropUID)
		if _, err := c.PutCalendarObject(ctx, calendarPath+uid+".ics", parsed); err != nil {
			t.Fatalf("put: %v", err)
		}
	}
	query := func(start time.Time) string {
		t.Helper()
		found, err := c.QueryCalendar(ctx, calendarPath, &caldav.CalendarQuery{
			CompRequest: caldav.CalendarCompRequest{Name: ical.CompCalendar, AllProps: true, AllComps: true},
			CompFilter: caldav.CompFilter{Name: ical.CompCalendar, Comps: []caldav.CompFilter{
				{Name: ical.CompEvent, Start: start, End: start.AddDate(0, 0, 1)},
			}},
		})
		if err != nil {
			t.Fatalf("query: %v", err)
		}
		var paths []string
		for _, o := range found {
			paths = append(paths, strings.TrimPrefix(o.Path, calendarPath))
		}
		return strings.Join(paths, " ")
	}
	if got := query(day); got != "e1.ics e2.ics" {
		t.Errorf("on the day: %q", got)
	}
	if got := query(day.AddDate(0, 0, 2)); got != "e2.ics" {
		t.Errorf("two days later: %q", got)
	}
	if got := query(day.AddDate(0, 1, 0)); got != "" {
		t.Errorf("a month later: %q", got)
	}
	several, err := c.MultiGetCalendar(ctx, calendarPath, &caldav.CalendarMultiGet{
		Paths:       []string{calendarPath + "e2.ics"},
		CompRequest: caldav.CalendarCompRequest{Name: ical.CompCalendar, AllProps: true, AllComps: true},
	})
	if err != nil || len(several) != 1 || several[0].ETag == "" {
		t.Errorf("multiget: %+v, %v", several, err)
	}
}

func TestCardDAVDiscoveryAndCards(t *testing.T) {
	d := start(t)
	ctx := context.Background()
	c, err := carddav.NewClient(as(alice), d.dav)
	if err != nil {
		t.Fatal(err)
	}
	home, err := c.FindAddressBookHomeSet(ctx, "/"+alice+"/")
	if err != nil {
		t.Fatalf("home: %v", err)
	}
	books, err := c.FindAddressBooks(ctx, home)
	if err != nil || len(books) != 1 || books[0].Name != "Contacts" || books[0].Path != bookPath {
		t.Fatalf("books %+v, %v", books, err)
	}
	parsed, err := vcard.NewDecoder(strings.NewReader(card)).Decode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutAddressObject(ctx, bookPath+"c1.vcf", parsed); err != nil {
		t.Fatalf("put: %v", err)
	}
	query := func(name string) int {
		t.Helper()
		found, err := c.QueryAddressBook(ctx, bookPath, &carddav.AddressBookQuery{
			DataRequest: carddav.AddressDataRequest{AllProp: true},
			PropFilters: []carddav.PropFilter{{Name: vcard.FieldFormattedName, TextMatches: []carddav.TextMatch{{Text: name}}}},
		})
		if err != nil {
			t.Fatalf("query: %v", err)
		}
		return len(found)
	}
	if query("Carol") != 1 || query("Dave") != 0 {
		t.Errorf("found %d of Carol and %d of Dave", query("Carol"), query("Dave"))
	}
	several, err := c.MultiGetAddressBook(ctx, bookPath, &carddav.AddressBookMultiGet{
		Paths: []string{bookPath + "c1.vcf"}, DataRequest: carddav.AddressDataRequest{AllProp: true},
	})
	if err != nil || len(several) != 1 || several[0].Card.Value(vcard.FieldFormattedName) != "Carol" {
		t.Errorf("multiget: %+v, %v", several, err)
	}
}

func TestDAVObjectsAreKeptToTheByte(t *testing.T) {
	d := start(t)
	for path, c := range map[string][2]string{
		calendarPath + "a%20b.ics": {"text/calendar; charset=utf-8", event("e1", "")},
		bookPath + "c1.vcf":        {"text/vcard; charset=utf-8", card},
	} {
		put, _ := d.request(t, alice, "PUT", path, c[1], "Content-Type", c[0], "If-None-Match", "*")
		if put.StatusCode != http.StatusCreated {
			t.Fatalf("PUT %s: %s", path, put.Status)
		}
		got, body := d.request(t, alice, "GET", path, "")
		if body != c[1] || got.Header.Get("ETag") == "" || got.Header.Get("ETag") != put.Header.Get("ETag") || got.Header.Get("Content-Type") != c[0] {
			t.Errorf("GET %s: %v\n%q", path, got.Header, body)
		}
		head, body := d.request(t, alice, "HEAD", path, "")
		if head.StatusCode != http.StatusOK || body != "" || head.ContentLength != int64(len(c[1])) {
			t.Errorf("HEAD %s: %s, %d", path, head.Status, head.ContentLength)
		}
		if got := d.status(t, alice, "GET", path, "", "If-None-Match", put.Header.Get("ETag")); got != http.StatusNotModified {
			t.Errorf("GET %s if changed: %d", path, got)
		}
	}
}

func TestDAVPreconditions(t *testing.T) {
	d := start(t)
	path := calendarPath + "e1.ics"
	put := func(text string, header ...string) *http.Response {
		t.Helper()
		resp, _ := d.request(t, alice, "PUT", path, text, append(header, "Content-Type", "text/calendar")...)
		return resp
	}
	for _, match := range []string{`"none"`, "*"} {
		if got := put(event("e1", ""), "If-Match", match).StatusCode; got != http.StatusPreconditionFailed {
			t.Errorf("PUT over nothing with If-Match: %s: %d, want 412", match, got)
		}
	}
	first := put(event("e1", ""), "If-None-Match", "*").Header.Get("ETag")
	if got := put(event("e1", ""), "If-None-Match", "*").StatusCode; got != http.StatusPreconditionFailed {
		t.Errorf("PUT twice with If-None-Match: %d, want 412", got)
	}
	second := put(event("e1", "FREQ=DAILY"), "If-Match", first).Header.Get("ETag")
	if second == "" || second == first {
		t.Errorf("ETags %q and %q", first, second)
	}
	if got := put(event("e1", ""), "If-Match", first).StatusCode; got != http.StatusPreconditionFailed {
		t.Errorf("PUT with an old If-Match: %d, want 412", got)
	}
	for _, c := range []struct {
		etag string
		want int
	}{{first, http.StatusPreconditionFailed}, {`"x", ` + second, http.StatusNoContent}, {second, http.StatusNotFound}} {
		if got := d.status(t, alice, "DELETE", path, "", "If-Match", c.etag); got != c.want {
			t.Errorf("DELETE if %s: %d, want %d", c.etag, got, c.want)
		}
	}
}

func TestDAVKeepsPeopleApart(t *testing.T) {
	d := start(t)
	if got := d.status(t, alice, "PUT", calendarPath+"e1.ics", event("e1", ""), "Content-Type", "text/calendar"); got != http.StatusCreated {
		t.Fatalf("PUT: %d", got)
	}
	for _, method := range []string{"GET", "PUT", "DELETE", "PROPFIND", "REPORT", "MKCALENDAR", "MKCOL", "OPTIONS"} {
		for _, path := range []string{"/" + alice + "/", "/" + alice + "/calendars/", calendarPath, calendarPath + "e1.ics", bookPath} {
			if got := d.status(t, bob, method, path, ""); got != http.StatusForbidden {
				t.Errorf("%s %s as Bob: %d, want 403", method, path, got)
			}
		}
	}
	multiget := `<calendar-multiget xmlns="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/></D:prop><D:href>` +
		calendarPath + `e1.ics</D:href></calendar-multiget>`
	_, body := d.request(t, bob, "REPORT", "/"+bob+"/calendars/calendar/", multiget, "Content-Type", "application/xml")
	if !strings.Contains(body, "404 Not Found") || strings.Contains(body, "getetag") {
		t.Errorf("multiget of Alice's event as Bob answers\n%s", body)
	}
	for _, path := range []string{"/" + bob + "/../" + alice + "/", "/" + bob + "//calendars/", "/" + bob + "/..%2f" + alice + "/calendars/calendar/e1.ics"} {
		if got := d.status(t, bob, "GET", path, ""); got != http.StatusBadRequest && got != http.StatusForbidden {
			t.Errorf("GET %s as Bob: %d", path, got)
		}
	}
}

func TestDAVTrustsOneNameAlone(t *testing.T) {
	d := start(t)
	for name, header := range map[string][]string{
		"nobody":        nil,
		"unknown":       {userHeader, "nobody@new.example"},
		"two names":     {userHeader, alice, userHeader, bob},
		"names in one":  {userHeader, alice + "," + bob},
		"a master user": {userHeader, master},
	} {
		if got := d.status(t, "", "PROPFIND", "/", "", header...); got != http.StatusForbidden {
			t.Errorf("%s: %d, want 403", name, got)
		}
	}
	if got := d.status(t, "", "PROPFIND", "/", "", userHeader, "a.liddell@new.example"); got != http.StatusMultiStatus {
		t.Errorf("an alias: %d, want 207", got)
	}
}

func TestDAVCollections(t *testing.T) {
	d := start(t)
	mk := `<C:mkcalendar xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop>` +
		`<D:displayname>Work</D:displayname><C:calendar-description>Meetings</C:calendar-description></D:prop></D:set></C:mkcalendar>`
	mkcol := `<mkcol xmlns="DAV:"><set><prop><resourcetype><collection/><C:addressbook xmlns:C="urn:ietf:params:xml:ns:carddav"/></resourcetype>` +
		`<displayname>Clients</displayname></prop></set></mkcol>`
	home := "/" + alice + "/calendars/"
	for _, c := range []struct {
		name, method, path, body string
		want                     int
	}{
		{"calendar", "MKCALENDAR", home + "work/", mk, 201},
		{"calendar again", "MKCALENDAR", home + "work", mk, 405},
		{"calendar without body or slash", "MKCALENDAR", home + "bare", "", 201},
		{"calendar in a calendar", "MKCALENDAR", calendarPath + "deep/", mk, 403},
		{"calendar among contacts", "MKCALENDAR", "/" + alice + "/contacts/x/", mk, 403},
		{"malformed", "MKCALENDAR", home + "x/", "<nothing", 400},
		{"address book", "MKCOL", "/" + alice + "/contacts/clients/", mkcol, 201},
		{"event in a new calendar", "PUT", home + "work/e.ics", event("e", ""), 201},
		{"event in no calendar", "PUT", home + "missing/e.ics", event("e", ""), 409},
		{"event beside calendars", "PUT", home + "e.ics", event("e", ""), 409},
		{"unknown branch", "PROPFIND", "/" + alice + "/files/", "", 404},
		{"home stays", "DELETE", home, "", 403},
		{"calendar goes", "DELETE", home + "bare/", "", 204},
		{"gone", "PROPFIND", home + "bare/", "", 404},
	} {
		contentType := "application/xml"
		if c.method == "PUT" {
			contentType = "text/calendar"
		}
		if got := d.status(t, alice, c.method, c.path, c.body, "Content-Type", contentType); got != c.want {
			t.Errorf("%s: %s %s: %d, want %d", c.name, c.method, c.path, got, c.want)
		}
	}
	_, body := d.request(t, alice, "PROPFIND", home, "", "Depth", "1")
	if !strings.Contains(body, ">Work<") || !strings.Contains(body, ">Meetings<") || !strings.Contains(body, ">Calendar<") {
		t.Errorf("the home answers\n%s", body)
	}
}

func TestDAVWellKnown(t *testing.T) {
	d := start(t)
	for _, name := range []string{"caldav", "carddav"} {
		resp, _ := d.request(t, alice, "PROPFIND", "/.well-known/"+name, "")
		if resp.StatusCode != http.StatusPermanentRedirect || resp.Header.Get("Location") != "/"+alice+"/" {
			t.Errorf("%s: %s to %q", name, resp.Status, resp.Header.Get("Location"))
		}
	}
	_, body := d.request(t, alice, "PROPFIND", "/"+alice, "")
	if !strings.Contains(body, "calendar-home-set") || !strings.Contains(body, "addressbook-home-set") {
		t.Errorf("the principal answers\n%s", body)
	}
	resp, _ := d.request(t, alice, "OPTIONS", "/", "")
	if dav := resp.Header.Get("DAV"); !strings.Contains(dav, "calendar-access") || !strings.Contains(dav, "addressbook") {
		t.Errorf("OPTIONS says DAV: %q", dav)
	}
}

func TestDAVRefusesBadObjects(t *testing.T) {
	d := start(t)
	large := strings.Replace(event("e1", ""), "SUMMARY:", "SUMMARY:"+strings.Repeat("x", maxDAVObject), 1)
	for _, c := range []struct {
		name, body string
		want       int
	}{
		{"no calendar at all", "hello", 400},
		{"nothing", "", 400},
		{"no PRODID", strings.Replace(event("e1", ""), "PRODID", "X-PRODID", 1), 409},
		{"a METHOD", strings.Replace(event("e1", ""), "PRODID", "METHOD:PUBLISH\r\nPRODID", 1), 409},
		{"a rule by seconds", event("e1", "FREQ=SECONDLY"), 409},
		{"a rule by hours of the day", event("e1", "FREQ=DAILY;BYHOUR=1,2,3"), 409},
		{"larger than the limit", large, 413},
	} {
		if got := d.status(t, alice, "PUT", calendarPath+"e1.ics", c.body, "Content-Type", "text/calendar"); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if got := d.status(t, alice, "GET", calendarPath+"e1.ics", ""); got != http.StatusNotFound {
		t.Errorf("after refusals GET answers %d, want 404", got)
	}
}

func TestDAVBounds(t *testing.T) {
	t.Run("objects", func(t *testing.T) {
		tr := newTree(alice, time.Now)
		for n := range maxDAVObjects {
			if _, err := tr.store(fmt.Sprintf("%s%d.ics", calendarPath, n), nil, precondition{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tr.store(calendarPath+"more.ics", nil, precondition{}); err == nil {
			t.Error("an object over the limit was kept")
		}
		if _, err := tr.store(calendarPath+"1.ics", []byte("changed"), precondition{}); err != nil {
			t.Errorf("a change was refused: %v", err)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		tr := newTree(alice, time.Now)
		if _, err := tr.store(calendarPath+"1.ics", make([]byte, maxDAVTree), precondition{}); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.store(calendarPath+"2.ics", make([]byte, 1), precondition{}); err == nil {
			t.Error("a byte over the limit was kept")
		}
		if err := tr.remove(calendarPath, precondition{}); err != nil {
			t.Fatal(err)
		}
		if tr.size != 0 || tr.count != 0 {
			t.Errorf("after all is gone: %d bytes, %d objects", tr.size, tr.count)
		}
	})
	t.Run("collections", func(t *testing.T) {
		tr := newTree(alice, time.Now)
		status := 0
		for n := 0; status == 0 && n <= maxDAVCollections; n++ {
			status = tr.make(tr.calendars, fmt.Sprintf("%s%d/", tr.calendars, n), "", "")
		}
		if status != http.StatusInsufficientStorage {
			t.Errorf("got %d, want 507", status)
		}
	})
}
