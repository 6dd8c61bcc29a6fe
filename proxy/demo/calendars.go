package demo

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-webdav/caldav"
)

// calendarBackend is a person's calendars as the library wants them, for one request.
type calendarBackend struct{ davRequest }

var _ caldav.Backend = calendarBackend{}

func (b calendarBackend) CurrentUserPrincipal(context.Context) (string, error) {
	return b.tree.principal, nil
}

func (b calendarBackend) CalendarHomeSetPath(context.Context) (string, error) {
	return b.tree.calendars, nil
}

func (b calendarBackend) CreateCalendar(_ context.Context, c *caldav.Calendar) error {
	return made(b.tree.make(b.tree.calendars, c.Path, c.Name, c.Description))
}

func calendarOf(c collection) caldav.Calendar {
	return caldav.Calendar{
		Path: c.path, Name: c.name, Description: c.description, MaxResourceSize: maxDAVObject,
		SupportedComponentSet: []string{ical.CompEvent, ical.CompToDo, ical.CompJournal},
	}
}

func (b calendarBackend) ListCalendars(context.Context) ([]caldav.Calendar, error) {
	var found []caldav.Calendar
	for _, c := range b.tree.list(b.tree.calendars) {
		found = append(found, calendarOf(c))
	}
	return found, nil
}

func (b calendarBackend) GetCalendar(_ context.Context, path string) (*caldav.Calendar, error) {
	c, err := b.tree.collection(path)
	if err != nil {
		return nil, err
	}
	found := calendarOf(c)
	return &found, nil
}

func calendarObject(o object) (*caldav.CalendarObject, error) {
	data, err := ical.NewDecoder(bytes.NewReader(o.data)).Decode()
	if err != nil {
		return nil, err
	}
	return &caldav.CalendarObject{Path: o.path, ModTime: o.modified, ContentLength: int64(len(o.data)), ETag: o.etag, Data: data}, nil
}

func (b calendarBackend) GetCalendarObject(_ context.Context, path string, _ *caldav.CalendarCompRequest) (*caldav.CalendarObject, error) {
	o, err := b.tree.object(path)
	if err != nil {
		return nil, err
	}
	return calendarObject(o)
}

func (b calendarBackend) ListCalendarObjects(_ context.Context, path string, _ *caldav.CalendarCompRequest) ([]caldav.CalendarObject, error) {
	objects, err := b.tree.objects(path)
	if err != nil {
		return nil, err
	}
	var found []caldav.CalendarObject
	for _, o := range objects {
		co, err := calendarObject(o)
		if err != nil {
			return nil, err
		}
		found = append(found, *co)
	}
	return found, nil
}

func (b calendarBackend) QueryCalendarObjects(ctx context.Context, path string, q *caldav.CalendarQuery) ([]caldav.CalendarObject, error) {
	all, err := b.ListCalendarObjects(ctx, collectionPath(path), nil)
	if err != nil {
		return nil, err
	}
	return caldav.Filter(q, all)
}

func collectionPath(path string) string { return strings.TrimSuffix(path, "/") + "/" }

func (b calendarBackend) PutCalendarObject(_ context.Context, path string, c *ical.Calendar, _ *caldav.PutCalendarObjectOptions) (*caldav.CalendarObject, error) {
	if _, _, err := caldav.ValidateCalendarObject(c); err != nil {
		return nil, caldav.NewPreconditionError(caldav.PreconditionValidCalendarObjectResource)
	}
	// The library must be able to write it again in reports.
	if err := ical.NewEncoder(&bytes.Buffer{}).Encode(c); err != nil {
		return nil, caldav.NewPreconditionError(caldav.PreconditionValidCalendarData)
	}
	if finerThanDays(c.Component) {
		return nil, caldav.NewPreconditionError(caldav.PreconditionMaxInstances)
	}
	o, err := b.tree.store(path, b.body, b.when)
	if err != nil {
		return nil, err
	}
	return &caldav.CalendarObject{Path: o.path, ModTime: o.modified, ETag: o.etag}, nil
}

// finerThanDays says whether something recurs more than once a day. The library writes out every recurrence in the range
// of a query, so a rule by seconds would be a way to use up the machine.
func finerThanDays(c *ical.Component) bool {
	for _, rule := range c.Props[ical.PropRecurrenceRule] {
		for part := range strings.SplitSeq(strings.ToUpper(rule.Value), ";") {
			name, value, _ := strings.Cut(part, "=")
			switch strings.TrimSpace(name) {
			case "BYSECOND", "BYMINUTE", "BYHOUR":
				return true
			case "FREQ":
				value = strings.TrimSpace(value)
				if value == "SECONDLY" || value == "MINUTELY" || value == "HOURLY" {
					return true
				}
			}
		}
	}
	for _, child := range c.Children {
		if finerThanDays(child) {
			return true
		}
	}
	return false
}

func (b calendarBackend) DeleteCalendarObject(_ context.Context, path string) error {
	if path == b.tree.calendars {
		return davError(http.StatusForbidden, "the home stays")
	}
	return b.tree.remove(path, b.when)
}
