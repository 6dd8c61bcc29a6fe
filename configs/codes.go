package configs

import "github.com/nyaruka/phonenumbers"

// maxCodes bounds each limit on codes: what a large installation sends in an hour when everybody comes back from holidays.
const maxCodes = 1_000_000

func (c *Config) validateCodes(bad badFunc) {
	k := c.SignIn.Codes
	for key, n := range map[string]int{
		"per_source": k.PerSource, "per_address": k.PerAddress, "per_country": k.PerCountry, "per_channel": k.PerChannel,
	} {
		if n < 1 || n > maxCodes {
			bad("sign_in.codes."+key, "must be 1 to %d, is %d", maxCodes, n)
		}
	}
	if at := c.SignIn.DefaultCountry; at != "" && !phonenumbers.GetSupportedRegions()[at] {
		bad("sign_in.default_country", "must be the two capital letters of a country, like JP, is %q", at)
	}
}
