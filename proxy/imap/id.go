package imap

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// RFC 2971 section 3.3.
const (
	maxIDPairs = 30
	maxIDKey   = 30
	maxIDValue = 1024
)

// maxAgent bounds the client's words about itself, as authcore.ConnInfo has it.
const maxAgent = 200

// id is RFC 2971: the client names itself, we name ourselves, without a version that would help an attacker more than
// anybody else. Of the client's words its name and version are kept.
func (d *dialogue) id(cmd *command) error {
	if err := cmd.sp(); err != nil {
		return err
	}
	var agent string
	if !cmd.isNil() {
		var err error
		if agent, err = idList(cmd); err != nil {
			return err
		}
	}
	if err := cmd.end(); err != nil {
		return err
	}
	d.info.Agent = agent
	return d.c.Reply("* ID (\"name\" \"Latchkey\")\r\n%s OK Done\r\n", cmd.tag)
}

// idList reads the pairs and answers the client's name and version.
func idList(cmd *command) (agent string, err error) {
	if err := cmd.char('('); err != nil {
		return "", err
	}
	var name, version string
	for pairs := 0; !cmd.at(')'); pairs++ {
		if pairs == maxIDPairs {
			return "", &complaint{"BAD ID has thirty pairs at most"}
		}
		if pairs > 0 {
			if err := cmd.sp(); err != nil {
				return "", err
			}
		}
		key, value, err := idPair(cmd)
		if err != nil {
			return "", err
		}
		switch strings.ToLower(key) {
		case "name":
			name = clean(value)
		case "version":
			version = clean(value)
		}
	}
	return cut(strings.TrimSpace(name+" "+version), maxAgent), cmd.char(')')
}

func idPair(cmd *command) (key, value string, err error) {
	if key, err = cmd.string(maxIDKey); err != nil {
		return "", "", err
	}
	if err := cmd.sp(); err != nil {
		return "", "", err
	}
	if cmd.isNil() {
		return key, "", nil
	}
	value, err = cmd.string(maxIDValue)
	return key, value, err
}

// clean leaves what can be shown to people: no control or invisible characters, no broken UTF-8, at most maxAgent octets.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	return cut(s, maxAgent)
}

// cut shortens s to n octets, at a character's end.
func cut(s string, n int) string {
	for len(s) > n {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
