package smtp

import (
	"strings"
	"testing"
)

func TestXtext(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "a+b=c": "a+2Bb+3Dc", "sp ace": "sp+20ace", "\r\nLOGIN=x": "+0D+0ALOGIN+3Dx", "\u00e9": "+C3+A9",
	} {
		if got := xtext(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if strings.ContainsAny(xtext(in), " \r\n=") {
			t.Errorf("%q can leave its attribute", in)
		}
	}
}
