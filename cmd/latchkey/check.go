package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
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
	m, err := check(*path)
	if err != nil {
		return err
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

// check names every mistake that can be seen without dialling anybody.
func check(path string) (configs.Mistakes, error) {
	cfg, err := configs.Load(path)
	var m configs.Mistakes
	if errors.As(err, &m) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	m = append(m, checkUpstreams(cfg)...)
	for i, c := range cfg.Certificates {
		if _, warnings, err := proxy.LoadCertificates([]proxy.KeyPair{{CertFile: c.CertFile, KeyFile: c.KeyFile}}); err != nil {
			m = append(m, cfg.At(fmt.Sprintf("certificates[%d]", i), "%v", err))
		} else {
			for _, w := range warnings {
				m = append(m, cfg.At(fmt.Sprintf("certificates[%d].cert_file", i), "%s: %s", w.File, w.Text))
			}
		}
	}
	if _, err := os.Stat(cfg.Keys); err == nil {
		if _, err := secret.Load(cfg.Keys); err != nil {
			m = append(m, cfg.At("keys", "%v", err))
		}
	}
	return m, nil
}

// checkUpstreams asks the pool, whose own words name upstream and key.
func checkUpstreams(cfg *configs.Config) (m configs.Mistakes) {
	l, err := servers(cfg)
	if err != nil {
		return configs.Mistakes{cfg.At("upstreams", "%v", err)}
	}
	_, err = upstream.New(upstream.Options{Servers: l, Token: noToken})
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
	differ("data", old.Data, next.Data)
	differ("keys", old.Keys, next.Keys)
	differ("hostname", old.Hostname, next.Hostname)
	differ("cutoff", old.Cutoff.UTC(), next.Cutoff.UTC())
	differ("log.format", old.Log.Format, next.Log.Format)
	differ("certificates", old.Certificates, next.Certificates)
	differ("ops", old.Ops, next.Ops)
	differ("tokens", old.Tokens, next.Tokens)
	differ("limits", old.Limits, next.Limits)
	differ("listeners", places(old), places(next))
	return keys
}

// places is what of the listeners needs new sockets.
func places(c *configs.Config) (l []configs.Listener) {
	for _, x := range c.Listeners {
		l = append(l, configs.Listener{Name: x.Name, Protocol: x.Protocol, Address: x.Address, TLS: x.TLS})
	}
	return l
}
