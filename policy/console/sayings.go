package console

// sayings are what the page after a change says, by the closed word that the cookie carries.
func sayings() map[string]string {
	return map[string]string{
		"saved":        "Saved.",
		"signed_out":   "You are signed out.",
		"session_over": "Your session is over: it lasted as long as it may, or you or an administrator ended it. Sign in again.",
		"unchanged":    "Nothing was changed.",
	}
}
