package api_test

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	"latchkey/authcore/authtest"
	"latchkey/policy/api"
)

// held sends a request up to its body, waits until the server asks for that, has something happen, and sends the rest.
func (h *house) held(t *testing.T, token, path, body string, meanwhile func()) int {
	t.Helper()
	r, w := io.Pipe()
	asked := make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(asked) }})
	q, err := http.NewRequestWithContext(ctx, "POST", h.url+api.Prefix+path, r)
	if err != nil {
		t.Fatal(err)
	}
	q.ContentLength = int64(len(body))
	for k, v := range map[string]string{"Authorization": "Bearer " + token, "Content-Type": "application/json", "Expect": "100-continue"} {
		q.Header.Set(k, v)
	}
	go func() {
		<-asked
		meanwhile()
		_, err := io.WriteString(w, body)
		_ = w.CloseWithError(err)
	}()
	transport := &http.Transport{ExpectContinueTimeout: 0}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

// A session that ends while its request's body is on the way makes nothing any more: neither an app password nor an API
// token, which would outlive what ended the session.
func TestRequestHeldOverTheEndOfItsSession(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*house, string) error{
		"suspension": func(h *house, address string) error {
			_, err := h.Suspend(t.Context(), authtest.Operator(), address)
			return err
		},
		"sign-out everywhere": func(h *house, address string) error {
			_, err := h.SignOutEverywhere(t.Context(), authtest.Operator(), address)
			return err
		},
		"a reset": func(h *house, address string) error {
			_, _, err := h.ResetPassword(t.Context(), authtest.Operator(), address, true)
			return err
		},
		"nothing": nil,
	} {
		for path, body := range map[string]string{
			"/me/app-passwords":            `{"name":"Backdoor"}`,
			"/me/api-tokens":               `{"name":"Backdoor","scopes":["write"]}`,
			"/domains/old.example/members": `{"address":"mole@old.example","role":"administrator"}`,
		} {
			t.Run(name+strings.ReplaceAll(path, "/", " "), func(t *testing.T) {
				h := open(t, nil)
				address := h.People["admin"].Address
				want := 401
				if end == nil {
					want = 201
				}
				got := h.held(t, h.token(t, "admin"), path, body, func() {
					if end == nil {
						return
					}
					if err := end(h, address); err != nil {
						t.Error(err)
					}
				})
				if got != want {
					t.Errorf("status %d, want %d", got, want)
				}
			})
		}
	}
}
