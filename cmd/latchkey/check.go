package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"latchkey/authcore/secret"
	"latchkey/configs"
	"latchkey/proxy"
	"latchkey/proxy/upstream"
)

// defaultConfig is where the configuration lies unless -config says otherwise.
const defaultConfig = "/etc/latchkey/latchkey.yaml"

// load takes -config and the command's own flags, which more defines, and reads the configuration.
func (p program) load(name string, args []string, more func(*flag.FlagSet)) (*configs.Config, []string, error) {
	f := p.flags(name)
	path := f.String("config", defaultConfig, "configuration `file`")
	if more != nil {
		more(f)
	}
	words, err := parse(f, args)
	if err != nil {
		return nil, nil, err
	}
	if err := few(name, words); err != nil {
		return nil, nil, err
	}
	cfg, err := configs.Load(*path)
	if err != nil {
		return nil, nil, mistakes(err)
	}
	return cfg, words, nil
}

// few refuses words behind a command that takes none: they may be a flag that lost its hyphen.
func few(name string, words []string) error {
	if takesNone := name == "serve" || name == "check" || name == "doctor"; takesNone && len(words) > 0 {
		return misused("%q is not understood", words[0])
	}
	return nil
}

// mistakes puts each mistake on a line of its own.
func mistakes(err error) error {
	var m configs.Mistakes
	if errors.As(err, &m) {
		return fmt.Errorf("the configuration has mistakes:\n%w", m)
	}
	return err
}

func checkCommand(_ context.Context, p program, args []string) error {
	f := p.flags("check")
	path := f.String("config", defaultConfig, "configuration `file`")
	words, err := parse(f, args)
	if err != nil {
		return err
	}
	if err := few("check", words); err != nil {
		return err
	}
	m, warnings, err := check(*path)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintf(p.err, "warning: %v\n", w)
	}
	if len(m) > 0 {
		fmt.Fprintln(p.err, m.Error())
		return fmt.Errorf("%s", count(len(m), "mistake"))
	}
	fmt.Fprintf(p.out, "%s: no mistake found\n", *path)
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// check names every mistake that can be seen without dialling anybody, and what is well today and will not stay so.
func check(path string) (m, warnings configs.Mistakes, err error) {
	cfg, err := configs.Load(path)
	if err != nil && !errors.As(err, &m) {
		return nil, nil, err
	}
	if cfg == nil { // no YAML at all
		return m, nil, nil
	}
	wrong, warnings := checkCertificates(cfg)
	wrong = append(wrong, checkStore(cfg)...)
	wrong = append(wrong, checkUpstreams(cfg)...)
	wrong = append(wrong, checkProviders(cfg)...)
	wrong = append(wrong, checkWaysOut(cfg)...)
	if _, err := os.Stat(cfg.Keys); err == nil {
		if _, err := secret.Load(cfg.Keys); err != nil {
			wrong = append(wrong, cfg.At("keys", "%v", err))
		}
	}
	return m.With(wrong), warnings, nil
}

func checkCertificates(cfg *configs.Config) (m, warnings configs.Mistakes) {
	for i, c := range cfg.Certificates {
		if c.CertFile == "" || c.KeyFile == "" {
			continue // said already
		}
		key := fmt.Sprintf("certificates[%d]", i)
		_, l, err := proxy.LoadCertificates([]proxy.KeyPair{{CertFile: c.CertFile, KeyFile: c.KeyFile}})
		if err != nil {
			m = append(m, cfg.At(key, "%v", err))
		}
		for _, w := range l {
			warnings = append(warnings, cfg.At(key+".cert_file", "%s: %s", w.File, w.Text))
		}
	}
	return m, warnings
}

// checkStore reads the certificates that the way to Redis names; secrets were read with the file.
func checkStore(cfg *configs.Config) configs.Mistakes {
	if !cfg.Fleet() {
		return nil
	}
	if _, err := redisTLS(cfg.Store.Redis.TLS); err != nil {
		return configs.Mistakes{mistakeAt(cfg, "store.redis.tls", err)}
	}
	return nil
}

// checkUpstreams asks the pool, whose own words name upstream and key. A secret that cannot be read was told already:
// the rest of its upstream is looked at with another in its place.
func checkUpstreams(cfg *configs.Config) (m configs.Mistakes) {
	var l []upstream.Server
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		u := cfg.Upstreams[name]
		sec, err := u.Secret()
		if err != nil {
			sec = secret.New("unreadable")
		}
		l = append(l, server(cfg, name, u, sec))
	}
	_, err := upstream.New(upstream.Options{Servers: l, Token: noToken})
	if err == nil {
		return nil
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		key, text := "upstreams", line
		if rest, ok := strings.CutPrefix(line, `upstream "`); ok {
			if name, what, ok := strings.Cut(rest, `": `); ok {
				key, text = "upstreams."+name, what
				if field, what, ok := strings.Cut(what, ": "); ok && !strings.Contains(field, " ") {
					key, text = key+"."+renamed(field), what
				}
			}
		}
		m = append(m, cfg.At(key, "%s", text))
	}
	return m
}

// renamed answers the file's key for the pool's word.
func renamed(field string) string {
	switch field {
	case "way":
		return "sign_in"
	case "secret":
		return "secret_file"
	case "token.audience":
		return "audience"
	default:
		return field
	}
}

func noToken(context.Context, upstream.Claims) (secret.String, error) {
	return secret.String{}, errors.New("no token is signed while checking")
}

// needRestart names the keys that differ and that a reload cannot change.
func needRestart(old, next *configs.Config) (keys []string) {
	differ := func(key string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			keys = append(keys, key)
		}
	}
	differ("node", old.Node, next.Node)
	differ("data", old.Data, next.Data)
	differ("store", old.Store, next.Store)
	differ("keys", old.Keys, next.Keys)
	differ("hostname", old.Hostname, next.Hostname)
	differ("cutoff", old.Cutoff.UTC(), next.Cutoff.UTC())
	differ("log.format", old.Log.Format, next.Log.Format)
	differ("certificates", old.Certificates, next.Certificates)
	differ("ops", old.Ops, next.Ops)
	differ("tokens", old.Tokens, next.Tokens)
	differ("sign_in.default_country", old.SignIn.DefaultCountry, next.SignIn.DefaultCountry)
	differ("sign_in.codes", old.SignIn.Codes, next.SignIn.Codes)
	differ("webauthn", old.WebAuthn, next.WebAuthn)
	differ("notify", old.Notify, next.Notify)
	differ("limits", old.Limits, next.Limits)
	differ("listeners", fixed(old), fixed(next))
	return keys
}

// fixed is what of the listeners is taken once, when their sockets are opened.
func fixed(c *configs.Config) (l []configs.Listener) {
	for _, x := range c.Listeners {
		l = append(l, configs.Listener{Name: x.Name, Protocol: x.Protocol, Address: x.Address, TLS: x.TLS, AnySender: x.AnySender})
	}
	return l
}
