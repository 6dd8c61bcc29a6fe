package console

import (
	"image"
	"image/color"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/boombuler/barcode/qr"

	"latchkey/authcore/secret"
)

// The path draws exactly the modules of the code, within a quiet zone.
func TestQRCode(t *testing.T) {
	t.Parallel()
	const text = "otpauth://totp/old.example:jane@old.example?secret=JBSWY3DPEHPK3PXP&issuer=old.example"
	got, err := newQR(secret.New(text), "A code")
	if err != nil {
		t.Fatal(err)
	}
	want, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		t.Fatal(err)
	}
	drawn := draw(t, got)
	for y := range got.Size {
		for x := range got.Size {
			in := image.Pt(x-quietZone, y-quietZone)
			black := in.In(want.Bounds()) && want.At(in.X, in.Y) == color.Black
			if drawn[image.Pt(x, y)] != black {
				t.Fatalf("module %d,%d: black %t, want %t", x, y, drawn[image.Pt(x, y)], black)
			}
		}
	}
	if _, err := newQR(secret.New(strings.Repeat("x", 4000)), ""); err == nil || strings.Contains(err.Error(), "xxx") {
		t.Errorf("a text that no code holds: %v", err)
	}
}

// draw answers the black modules of a path.
func draw(t *testing.T, c qrCode) map[image.Point]bool {
	t.Helper()
	black := map[image.Point]bool{}
	runs := regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`).FindAllStringSubmatch(c.Path, -1)
	rest := c.Path
	for _, r := range runs {
		n := make([]int, 4)
		for i := range n {
			n[i], _ = strconv.Atoi(r[i+1])
		}
		if n[2] != n[3] {
			t.Fatalf("%s does not close", r[0])
		}
		for x := range n[2] {
			black[image.Pt(n[0]+x, n[1])] = true
		}
		rest = strings.TrimPrefix(rest, r[0])
	}
	if rest != "" || len(runs) == 0 {
		t.Fatalf("what draws %.40s?", rest)
	}
	return black
}
