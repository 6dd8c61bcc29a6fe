package console

import "testing"

// A word says one thing: what is said to a member is not said over by what is said of one.
func TestASayingIsSaidOnce(t *testing.T) {
	t.Parallel()
	own := sayings()
	for word, sentence := range peopleSayings() {
		if own[word] != sentence {
			t.Errorf("%s says %q", word, own[word])
		}
	}
	if want := "You are signed out everywhere."; own["signed_out_everywhere"] != want {
		t.Errorf("signed out everywhere: %q, want %q", own["signed_out_everywhere"], want)
	}
	for _, word := range refusals() {
		if own[word] == "" {
			t.Errorf("%s says nothing", word)
		}
	}
}
