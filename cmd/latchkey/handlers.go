package main

import "net/http"

func (h *house) opsHandler() http.Handler { return http.NewServeMux() }
func (h *house) apiHandler() http.Handler { return http.NewServeMux() }
