package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// An apiCall is one request to Latchkey's API.
type apiCall struct {
	Address string `json:"address"`
	Token   string `json:"token"`
	Method  string `json:"method"`
	Path    string `json:"path"`
	Body    string `json:"body"`
}

func (a apiCall) do(ctx context.Context, certificate []byte) error {
	client := &http.Client{Timeout: exchangeTime, Transport: &http.Transport{TLSClientConfig: door{Certificate: certificate}.config()}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, a.Method, "https://"+a.Address+a.Path, bytes.NewReader([]byte(a.Body)))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+a.Token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w: %s: %.200s", errAnswer, answer.Status, text)
	}
	return err
}

// revokeLoad: idle sessions, one call that ends them all, and the time until the last client knows.
func revokeLoad(ctx context.Context, j job) (measurement, error) {
	crowd := newCrowd(j, j.Sessions)
	defer crowd.leave()
	if err := crowd.connect(j.idle); err != nil {
		return crowd.measured(), err
	}
	if !pause(ctx, seconds(j.Settle)) {
		return crowd.measured(), ctx.Err()
	}
	var all sync.WaitGroup
	ended := make([]time.Time, len(crowd.lines))
	outcome := make([]error, len(crowd.lines))
	for i, l := range crowd.lines {
		l.extend()
		all.Go(func() { ended[i], outcome[i] = l.untilCut() })
	}
	began := time.Now()
	if err := j.Close.do(ctx, j.Door.Certificate); err != nil {
		crowd.leave()
		all.Wait()
		return measurement{}, err
	}
	answered := time.Now()
	all.Wait()
	last := began
	for _, at := range ended {
		if at.After(last) {
			last = at
		}
	}
	crowd.figures["last_s"] = last.Sub(began).Seconds()
	crowd.figures["answer_s"] = answered.Sub(began).Seconds()
	return crowd.measured(), firstOf(outcome)
}

// untilCut waits for the end that a server makes, and answers when it was.
func (l *line) untilCut() (time.Time, error) {
	_, err := io.Copy(io.Discard, l.r)
	now := time.Now()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return now, errors.New("a session was not cut")
	}
	return now, nil // a reset ends it as well
}

func firstOf(l []error) error {
	for _, err := range l {
		if err != nil {
			return err
		}
	}
	return nil
}
