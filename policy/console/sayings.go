package console

// sayings are what the page after a change says, by the closed word that the cookie carries.
func sayings() map[string]string {
	return map[string]string{
		"saved":        "Saved.",
		"signed_out":   "You are signed out.",
		"session_over": "Your session is over: it lasted as long as it may, or you or an administrator ended it. Sign in again.",
		"unchanged":    "Nothing was changed.",

		"two_step_on":           "2-step verification is on. From now on you are asked for a verification number when you sign in.",
		"two_step_off":          "2-step verification is off.",
		"app_added":             "The authenticator app is in use.",
		"app_removed":           "The authenticator app was removed.",
		"browser_forgotten":     "From the next sign-in a verification number is asked for there again.",
		"number_sent":           "A verification number was sent.",
		"contact_verified":      "It is verified.",
		"contact_removed":       "It was removed.",
		"contact_gone":          "Nothing waits for a verification number any more: enter it again.",
		"phone_connected":       "Your phone number is connected. You can sign in with it.",
		"phone_disconnected":    "Your phone number is disconnected.",
		"phone_again":           "This took too long: enter the phone number again.",
		"link_disconnected":     "Your account is disconnected.",
		"passkey_created":       "The passkey was created.",
		"passkey_deleted":       "The passkey was deleted.",
		"device_deleted":        "The device was deleted. It cannot sign in any more.",
		"app_password_deleted":  "The app password was deleted.",
		"option_on":             "You log in to third-party apps only with an app password now.",
		"option_off":            "Third-party app passwords are off.",
		"password_changed":      "Your account password was changed.",
		"session_ended":         "The session was signed out.",
		"others_ended":          "Everything else was signed out.",
		"signed_out_everywhere": "You are signed out everywhere.",
		"message_deleted":       "The message was deleted.",
	}
}
