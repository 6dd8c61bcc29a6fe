package console

import (
	"strings"
	"testing"
)

// Whoever is not signed in chooses for his browser; who is, for his messages too.
func TestLanguage(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.browser()
	b.get("/language").is(200, "Language of these pages", "日本語").hides("Messages to you").
		having("Save").choose("日本語").press("Save").is(200, "このページの言語")
	b.get("/language?next=/nothing").is(200, "このページの言語").having("保存").choose("한국어").press("保存").is(404, "처리하지 못했습니다")

	in := s.signedIn("account")
	in.get("/language").is(200, "Messages to you").having("Save").choose("한국어").press("Save").is(200, "이 페이지의 언어")
	p := s.People["account"]
	m := s.signedIn("account").get("/language").is(200, "이 페이지의 언어")
	if !strings.Contains(m.body, `lang="ko"`) || !strings.Contains(m.text(), p.Address) {
		t.Error("the page is not in the member's language, or not his")
	}
}

func TestLanguageRefusesWhatItDoesNotHave(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	f := s.browser().get("/language").having("Save")
	f.values.Set("language", "tlh")
	f.press("Save").is(422, "Some fields are not right.")
}

// The way back from a choice is a path of ours.
func TestTheLanguageLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for _, to := range []string{"https://other.example/", "//other.example/", "/\\other.example", "javascript:alert(1)"} {
		f := s.browser().alone().get("/language").having("Save")
		f.values.Set("next", to)
		if got := f.press("Save").header.Get("Location"); got != "/security" {
			t.Errorf("%q leads to %q", to, got)
		}
	}
}

func TestAcceptLanguage(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{"": "en", "ja": "ja", "ko-KR,ko;q=0.9,en;q=0.8": "ko", "fr, ja;q=0.5": "ja", "xx": "en", "\x00": "en", strings.Repeat("ja,", 5000): "en"} {
		if got := asked(header); got != want {
			t.Errorf("%.40q: %s, want %s", header, got, want)
		}
	}
}
