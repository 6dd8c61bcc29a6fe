package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
)

// people are who lives in Latchkey's store, made by its own command and API as an operator and the members would.
type people struct {
	operator string // his token
	logins   []login
}

// How many there are: members have an app password each, for all doors.
const (
	benchMembers = 40
	benchVictims = 40
	benchDomain  = "bench.example"
)

// victims are who is guessed at: half of them live here and have never signed in, half do not exist.
func victims() (l []string) {
	for i := range benchVictims {
		l = append(l, fmt.Sprintf("victim%d@%s", i, benchDomain), fmt.Sprintf("nobody%d@%s", i, benchDomain))
	}
	return l
}

// everybody who signs in.
func (b *bench) everybody() []login { return b.people.logins }

// seed makes the store and leaves Latchkey running.
func (b *bench) seed(ctx context.Context) error {
	s, err := b.newLatchkey()
	if err != nil {
		return err
	}
	const operator = "root@operator.example"
	out, err := exec.CommandContext(ctx, b.tools.latchkey, "operator", "create", "-config", b.latchkeyFile(), operator).CombinedOutput()
	if err != nil {
		return fmt.Errorf("latchkey operator create: %w\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	temporary := lines[len(lines)-1][strings.LastIndexByte(lines[len(lines)-1], ' ')+1:]
	b.servers[latchkeyName] = s
	if err := b.begin(ctx, s); err != nil {
		return err
	}
	api := &api{base: "https://" + s.at["api"] + "/api/v1", client: &http.Client{
		Timeout: exchangeTime, Transport: &http.Transport{TLSClientConfig: door{Certificate: b.certificate.raw}.config(), MaxIdleConnsPerHost: 8},
	}}
	if b.people.operator, err = api.firstSignIn(ctx, operator, temporary); err != nil {
		return err
	}
	if err := api.call(ctx, b.people.operator, "/domains", map[string]any{"name": benchDomain}, nil); err != nil {
		return err
	}
	return b.members(ctx, api)
}

// members makes them a few at a time: each chooses a password, which is hashed slowly.
func (b *bench) members(ctx context.Context, api *api) error {
	b.people.logins = make([]login, benchMembers)
	problems := make([]error, benchMembers)
	var all sync.WaitGroup
	room := make(chan struct{}, 4)
	for i := range benchMembers {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			b.people.logins[i], problems[i] = api.member(ctx, b.people.operator, fmt.Sprintf("member%d@%s", i, benchDomain))
		})
	}
	all.Wait()
	for i := range benchVictims {
		new := map[string]any{"address": fmt.Sprintf("victim%d@%s", i, benchDomain), "name": "Victim"}
		problems = append(problems, api.call(ctx, b.people.operator, "/domains/"+benchDomain+"/members", new, nil))
	}
	return firstOf(problems)
}

// An api speaks with Latchkey's.
type api struct {
	base   string
	client *http.Client
}

// call posts a value and takes the answer's into to, if there is one.
func (a *api) call(ctx context.Context, token, path string, body, to any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := a.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	switch {
	case err != nil:
		return err
	case answer.StatusCode >= 300:
		return fmt.Errorf("%s: %s: %.300s", path, answer.Status, text)
	case to == nil:
		return nil
	}
	return json.Unmarshal(text, to)
}

// firstSignIn changes a temporary password for another and answers a token.
func (a *api) firstSignIn(ctx context.Context, address, temporary string) (string, error) {
	var step struct{ Ticket, Token string }
	if err := a.call(ctx, "", "/sign-in", map[string]any{"login": address, "password": temporary}, &step); err != nil {
		return "", err
	}
	if err := a.call(ctx, "", "/sign-in/password", map[string]any{"ticket": step.Ticket, "new_password": "a horse, 7 staples"}, &step); err != nil {
		return "", err
	}
	if step.Token == "" {
		return "", errors.New("the first sign-in of " + address + " answered no token")
	}
	return step.Token, nil
}

// member makes one with an app password for every door.
func (a *api) member(ctx context.Context, operator, address string) (login, error) {
	var made struct {
		Temporary string `json:"temporary_password"`
	}
	if err := a.call(ctx, operator, "/domains/"+benchDomain+"/members", map[string]any{"address": address, "name": "Member"}, &made); err != nil {
		return login{}, err
	}
	token, err := a.firstSignIn(ctx, address, made.Temporary)
	if err != nil {
		return login{}, err
	}
	var app struct{ Password string }
	err = a.call(ctx, token, "/me/app-passwords", map[string]any{"name": "Bench", "doors": []string{"imap", "smtp", "pop3", "caldav", "carddav"}}, &app)
	return login{User: address, Password: strings.ReplaceAll(app.Password, " ", "")}, err
}

// shaPasswords is nginx's auth_basic file: {SHA}, a single unsalted SHA-1, is the fastest that it has.
func shaPasswords(l []login) string {
	var s strings.Builder
	for _, who := range l {
		sum := sha1.Sum([]byte(who.Password))
		fmt.Fprintf(&s, "%s:{SHA}%s\n", who.User, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return s.String()
}
