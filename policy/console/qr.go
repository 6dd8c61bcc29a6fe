package console

import (
	"errors"
	"fmt"
	"image/color"
	"strings"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"

	"latchkey/authcore/secret"
)

// quietZone is the white border that a reader of QR codes needs around them, in modules (ISO/IEC 18004 section 6.3.8).
const quietZone = 4

// qrCode is a text as a QR code: {{template "qr" .Code}} draws it as SVG, black on white in the dark too, as cameras want
// it.
type qrCode struct {
	Size int    // of a side in modules, with the quiet zone
	Path string // of the black modules
	Says string // what a screen reader reads in its place: never the text
}

// newQR draws a text. It is a secret, as most that is scanned here is: nothing else shows it.
func newQR(text secret.String, says string) (qrCode, error) {
	code, err := qr.Encode(text.Reveal(), qr.M, qr.Auto)
	if err != nil {
		return qrCode{}, errors.New("draw a QR code: no code holds a text of that length") // err repeats the text
	}
	return qrCode{Size: code.Bounds().Dx() + 2*quietZone, Path: modules(code), Says: says}, nil
}

// modules are the black ones, each run of a row as one rectangle.
func modules(code barcode.Barcode) string {
	var b strings.Builder
	side := code.Bounds().Dx()
	for y := range side {
		for x := 0; x < side; x++ {
			from := x
			for x < side && code.At(x, y) == color.Black {
				x++
			}
			if x > from {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", from+quietZone, y+quietZone, x-from, x-from)
			}
		}
	}
	return b.String()
}
