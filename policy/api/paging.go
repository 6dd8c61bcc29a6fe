package api

import "github.com/danielgtaylor/huma/v2"

// Page is what a list takes: how much, and where to go on. after is the next of the page before.
type Page struct {
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items at most"`
	After string `query:"after" maxLength:"320" doc:"The next of the page before"`
}

// maxAfter bounds a start in bytes: the longest is an address, and a store takes no name over 512.
const maxAfter = 400

// Resolve refuses what no page ended with.
func (p Page) Resolve(huma.Context) []error {
	if len(p.After) > maxAfter {
		return []error{&huma.ErrorDetail{Location: "query.after", Message: "is too long"}}
	}
	return nil
}

// List is a page of items. Without a next it is the last one; a page with one may hold less than the limit.
type List[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"Where to go on: the after of the next page"`
}

// Listed makes the page of what show makes of each item.
func Listed[F, T any](items []F, next string, show func(F) T) *Reply[List[T]] {
	l := List[T]{Items: make([]T, 0, len(items)), Next: next}
	for _, i := range items {
		l.Items = append(l.Items, show(i))
	}
	return &Reply[List[T]]{Body: l}
}

// Same shows an item as it is.
func Same[T any](v T) T { return v }
