package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"

	"latchkey/authcore/oidc"
	"latchkey/authcore/secret"
	"latchkey/configs"
)

// providers makes those that members sign in with, in the order of the file.
func providers(cfg *configs.Config) ([]*oidc.Provider, error) {
	var l []*oidc.Provider
	for i, c := range cfg.SignIn.Providers {
		at := fmt.Sprintf("sign_in.providers[%d]", i)
		sec, err := c.Secret()
		if err != nil {
			return nil, cfg.At(at+".secret_file", "%v", err)
		}
		p, err := provider(cfg, at, c, sec)
		if err != nil {
			return nil, err
		}
		l = append(l, p)
	}
	return l, nil
}

func provider(cfg *configs.Config, at string, c configs.Provider, sec secret.String) (*oidc.Provider, error) {
	roots, err := rootsIn(c.CAFile)
	if err != nil {
		return nil, cfg.At(at+".ca_file", "%v", err)
	}
	p, err := oidc.NewProvider(oidc.Settings{
		Name: c.Name, Kind: oidc.Kind(c.Kind), Issuer: c.Issuer, ClientID: c.ClientID, ClientSecret: sec, RedirectURL: c.RedirectURL,
		Scopes: c.Scopes, Roots: roots,
	})
	if err != nil {
		return nil, cfg.At(at, "%v", err)
	}
	return p, nil
}

// rootsIn reads authorities; nil, which means the system's, where there is no file.
func rootsIn(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return roots, nil
}

// checkProviders looks at what only reading the files can tell. A secret that cannot be read was told already.
func checkProviders(cfg *configs.Config) (m configs.Mistakes) {
	for i, c := range cfg.SignIn.Providers {
		at := fmt.Sprintf("sign_in.providers[%d]", i)
		if _, err := rootsIn(c.CAFile); err != nil {
			m = append(m, cfg.At(at+".ca_file", "%v", err))
		}
	}
	return m
}

// doctorProviders asks each provider for what it publishes.
func doctorProviders(ctx context.Context, p program, cfg *configs.Config) (failures int) {
	l, err := providers(cfg)
	if err != nil {
		fmt.Fprintf(p.out, "error    providers: %v\n", err)
		return 1
	}
	for _, o := range l {
		if err := o.Try(ctx); err != nil {
			fmt.Fprintf(p.out, "error    provider %s: %v\n         mend: members cannot sign in with it; see that this host reaches %s, and that the issuer is right to the letter\n",
				o.Name(), err, o.Issuer())
			failures++
			continue
		}
		fmt.Fprintf(p.out, "ok       provider %s: its settings and keys are there\n", o.Name())
	}
	return failures
}
