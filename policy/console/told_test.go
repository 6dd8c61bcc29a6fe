package console

import (
	"testing"

	"latchkey/authcore"
	"latchkey/policy"
	"latchkey/policy/api"
)

func TestWhatCoreTellsIsToldInTheReadersLanguage(t *testing.T) {
	t.Parallel()
	l := shared().languages
	for _, tc := range []struct{ name, code, told, want string }{
		{"as it is", "ja", "must lie in the future", "未来の日時を指定してください。"},
		{"without its full stop", "ja", "Temporarily unavailable: try again later.", "一時的に利用できません。しばらくしてからもう一度お試しください。"},
		{"values", "ja", "must be 8 to 20", "8～20 で指定してください。"},
		{"the longer pattern", "ko", "must be 0 (no limit) or 3 to 20", "0(제한 없음) 또는 3~20 사이로 지정하십시오."},
		{"values in quotation marks", "ko", `"imap2" is no door: use imap, smtp`, `"imap2"(이)라는 접속 방법은 없습니다. 사용할 수 있는 값: imap, smtp`},
		{"a value that looks like a verb", "ja", `"%d%s" is not in the domain example.org`, `"%d%s" はドメイン example.org のアドレスではありません。`},
		{"unknown", "ja", "nobody knows this", "Nobody knows this."},
		{"English", "en", "must be 8 to 20", "Must be 8 to 20."},
		{"English sentence", "en", "Is it?", "Is it?"},
		{"nothing", "en", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := l[tc.code].told(tc.told); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestEveryRuleOfPasswordsHasItsSentence(t *testing.T) {
	t.Parallel()
	l := shared().languages["ja"]
	for _, r := range policy.Rules() {
		if got := l.mistake(policy.Mistake{Field: "new_password", Reason: string(r)}); got == string(r) || got == finished(string(r)) {
			t.Errorf("rule %s is told as %q", r, got)
		}
	}
}

// A limit says that it is reached, and then what to do.
func TestALimitSaysWhatItIs(t *testing.T) {
	t.Parallel()
	l := shared().languages["en"]
	p := &api.Problem{Reason: string(authcore.AppPasswordLimit), Detail: "delete one that is not used any more"}
	if got, want := l.sentence(p), "You have as many app passwords as you may. Delete one that is not used any more."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := l.sentence(&api.Problem{Title: "Not Found"}); got != "Not Found" {
		t.Errorf("%q", got)
	}
}

// Somebody without a second step is told of the other ways in by the words of their buttons.
func TestOtherWaysAreNamedByTheirLabels(t *testing.T) {
	t.Parallel()
	p := &api.Problem{Reason: string(authcore.TwoStepMethodMissing),
		Detail: "There is no method for the second step of this sign-in. Ask your administrator, or sign in by another way: password, line, phone, quick, passkey, oidc.example."}
	for code, want := range map[string]string{
		"en": "There is no method for the second step of this sign-in. Ask your administrator, or sign in by another way: " +
			"Password, Login with LINE, Login with phone number, Quick Login (Mobile app), Use a passkey, Login with example.",
		"ja": "このログインの 2 段階認証に使える方法がありません。管理者にお問い合わせいただくか、別の方法でログインしてください: " +
			"パスワード, LINE でログイン, 電話番号でログイン, 簡単ログイン（モバイルアプリ）, パスキーを使用, example でログイン",
	} {
		if got := newLanguages(newAssets())[code].sentence(p); got != want {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
}
