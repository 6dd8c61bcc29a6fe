package configs

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFile bounds the file: one with ten thousand domains has less.
const maxFile = 1 << 20

// Load reads and validates the file at path. The error is Mistakes when the file could be read; the Config that is
// answered beside them holds what was understood, so that whoever can see more mistakes may name them too. Nobody may
// serve with it.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: read %s: %w", path, err)
	}
	if len(p) > maxFile {
		return nil, fmt.Errorf("configuration: %s has over %d bytes", path, maxFile)
	}
	return Parse(path, p)
}

// Parse is Load for a text. Where it is no YAML at all, no Config is answered.
func Parse(path string, p []byte) (*Config, error) {
	c := Default()
	r := &reader{file: path, lines: map[string]int{}}
	if !r.read(p, &c) {
		return nil, r.mistakes
	}
	c.path, c.lines = path, r.lines
	if m := r.mistakes.With(c.validate()); len(m) > 0 {
		return &c, m
	}
	return &c, nil
}

// At makes a Mistake about a key, at its line or that of the nearest key around it.
func (c *Config) At(key, format string, a ...any) Mistake {
	m := Mistake{File: c.path, Key: key, Text: fmt.Sprintf(format, a...)}
	for k := key; k != ""; {
		if line, ok := c.lines[k]; ok {
			m.Line = line
			break
		}
		k = k[:max(strings.LastIndexAny(k, ".["), 0)]
	}
	return m
}
