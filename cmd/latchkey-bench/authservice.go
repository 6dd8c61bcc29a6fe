package main

import (
	"context"
	"net"
	"net/http"
)

// authServiceRole is what nginx asks: auth_http of its mail module and auth_request of HTTP. It lets everybody in, looks
// nothing up and writes nothing down: any real one does more. It is a process of its own, whose time is added to nginx's.
func authServiceRole(_ context.Context, s streams, _ []string) error {
	ln, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/mail", authHTTP)
	mux.HandleFunc("/basic", authRequest)
	go func() { _ = serveHTTP(mux.ServeHTTP)(ln) }() // until the process ends
	return serveUntilEOF(s, ln.Addr().String())
}

// authHTTP is the protocol of ngx_mail_auth_http_module. nginx is configured to say, with each question, which server is behind.
func authHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	host, port, err := net.SplitHostPort(r.Header.Get("X-Behind-" + r.Header.Get("Auth-Protocol")))
	if err != nil || r.Header.Get("Auth-User") == "" || r.Header.Get("Auth-Pass") == "" {
		h["Auth-Status"] = []string{"Invalid login"}
		return
	}
	h["Auth-Status"], h["Auth-Server"], h["Auth-Port"] = []string{"OK"}, []string{host}, []string{port}
}

// authRequest is that of ngx_http_auth_request_module: 2xx lets in.
func authRequest(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := r.BasicAuth(); !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="bench"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}
