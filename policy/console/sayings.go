package console

// sayings are what the page after a change says, by the closed word that the cookie carries.
func sayings() map[string]string {
	return map[string]string{
		"saved":      "Saved.",
		"signed_out": "You are signed out.",
	}
}
