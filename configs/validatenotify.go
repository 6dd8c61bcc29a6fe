package configs

import (
	"fmt"
	"path/filepath"
)

// Exists says that a way out was configured.
func (e Email) Exists() bool { return e != Email{} }

// Exists says that a gateway was configured.
func (s SMS) Exists() bool { return s.URL != "" || s.Body != "" || s.Format != "" }

func (c *Config) validateNotify(bad badFunc) {
	n := c.Notify
	c.notifyFiles(bad, "notify.email", map[string]string{"secret_file": n.Email.SecretFile}, n.Email.CAFile)
	c.notifyFiles(bad, "notify.sms", map[string]string{"secret_file": n.SMS.SecretFile, "sign_secret_file": n.SMS.SignSecretFile}, n.SMS.CAFile)
	if _, named := c.lines["notify.sms"]; named && !n.SMS.Exists() {
		bad("notify.sms.url", "is missing: where the gateway takes messages")
	}
	for name, w := range n.Webhooks {
		at := "notify.webhooks." + name
		if !upstreamName.MatchString(name) {
			bad(at, "must be a name of small letters, digits, - and _")
		}
		c.notifyFiles(bad, at, map[string]string{"secret_file": w.SecretFile}, w.CAFile)
		for i, d := range w.Domains {
			if !hostName.MatchString(d) {
				bad(fmt.Sprintf("%s.domains[%d]", at, i), "must be a domain in small letters, is %q", d)
			}
		}
	}
}

// notifyFiles looks at the files that one way out names.
func (c *Config) notifyFiles(bad badFunc, at string, secrets map[string]string, ca string) {
	for key, file := range secrets {
		if file == "" {
			continue
		}
		absolute(bad, at+"."+key, file)
		if _, err := ReadSecret(file); filepath.IsAbs(file) && err != nil {
			bad(at+"."+key, "%v", err)
		}
	}
	if ca != "" {
		absolute(bad, at+".ca_file", ca)
	}
}
