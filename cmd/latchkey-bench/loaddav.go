package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
)

// propfind is what a calendar program asks again and again, with its password in each request.
func (j job) propfind(who login) string {
	const body = `<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:prop><D:getetag/></D:prop></D:propfind>`
	return fmt.Sprintf("PROPFIND %s HTTP/1.1\r\nHost: localhost\r\nDepth: 1\r\nContent-Type: application/xml\r\nAuthorization: Basic %s\r\nContent-Length: %d\r\n\r\n%s",
		j.Path, base64.StdEncoding.EncodeToString([]byte(who.User+":"+who.Password)), len(body), body)
}

// request sends one and reads the whole answer, which must be the listing.
func (l *line) request(text string) error {
	if err := l.say(text); err != nil {
		return err
	}
	answer, err := http.ReadResponse(l.r, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	switch {
	case err != nil:
		return err
	case answer.StatusCode != http.StatusMultiStatus || n != int64(len(listing)):
		return fmt.Errorf("%w: %s with %d octets", errAnswer, answer.Status, n)
	case answer.Close:
		return fmt.Errorf("%w: the connection is not kept", errAnswer)
	}
	return nil
}

// propfindLoad: requests over connections that are kept.
func propfindLoad(ctx context.Context, j job) (measurement, error) {
	return loop(ctx, j, func(i int) (worker, error) {
		l, err := j.Door.knock(i)
		if err != nil {
			return worker{}, err
		}
		text := j.propfind(j.one(i))
		return worker{end: l.leave, once: func() error {
			l.extend()
			return l.request(text)
		}}, nil
	})
}

// keepLoad: connections that have had one request and are kept open.
func keepLoad(ctx context.Context, j job) (measurement, error) {
	requests := make([]string, len(j.Logins))
	for i, who := range j.Logins {
		requests[i] = j.propfind(who)
	}
	crowd, err := gather(ctx, j, func(l *line, i int) error { return l.request(requests[i%len(requests)]) })
	defer crowd.leave()
	if err != nil {
		return crowd.measured(), err
	}
	if err := crowd.weigh(ctx, "kib"); err != nil {
		return crowd.measured(), err
	}
	err = crowd.each(func(l *line, i int) error { return l.request(requests[i%len(requests)]) }) // all are still there
	return crowd.measured(), err
}
