package otp

import (
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"latchkey/authcore/secret"
)

// What authenticator apps understand, all of them: RFC 6238 with SHA-1, six digits, 30 seconds.
const (
	period     = 30
	secretSize = 20 // bytes: RFC 4226 section 4 recommends 160 bits
	skew       = 1  // steps before and after: RFC 6238 section 5.2 recommends at most one
)

// NewApp makes the secret of an authenticator app, as base32 and as the URL that a QR code shows.
func NewApp(issuer, account string) (key, url secret.String, err error) {
	k, err := totp.Generate(totp.GenerateOpts{
		Issuer: issuer, AccountName: account, Period: period, SecretSize: secretSize, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		return secret.String{}, secret.String{}, fmt.Errorf("make the secret of an app: %w", err)
	}
	return secret.New(k.Secret()), secret.New(k.URL()), nil
}

// CodeAt is the code that an app with this secret shows at an instant.
func CodeAt(key secret.String, at time.Time) (secret.String, error) {
	s, err := codeOf(key.Reveal(), at.Unix()/period)
	return secret.New(s), err
}

func codeOf(key string, step int64) (string, error) {
	s, err := hotp.GenerateCodeCustom(key, uint64(step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		return "", fmt.Errorf("secret of an app: %w", err)
	}
	return s, nil
}

// stepOf answers the time step that typed is the code of, the latest when there are two; ErrWrong when there is none.
func stepOf(key string, typed secret.String, now time.Time) (int64, error) {
	plain, ok := Normalise(typed, Digits)
	step, found := now.Unix()/period, int64(-1)
	for s := step - skew; s <= step+skew; s++ {
		want, err := codeOf(key, s)
		if err != nil {
			return 0, err
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(plain)) == 1 && ok {
			found = s
		}
	}
	if found < 0 {
		return 0, ErrWrong
	}
	return found, nil
}
