package console

import "maps"

// sayings are what the page after a change says, by the closed word that the cookie carries.
func sayings() map[string]string {
	l := map[string]string{
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
		"contact_gone":          "This contact no longer waits for a verification number: enter it again.",
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
		"begin_again":           "This step took too long, or was done already: begin again.",
		"code_sent":             "A verification number was sent.",
		"code_in_inbox":         "If a member has connected this number, a new verification number is under their Notifications.",
		"confirmed":             "Thank you. Now do once more what you were about to do.",
		"passkey_refused":       "The passkey was not accepted. Try again, or choose another way.",
		"password_set":          "Your new password is set. Sign in with it.",
		"addresses_sent":        "If there are addresses that belong to this contact, they were sent to it.",
		"account_linked":        "Your account is connected. You can sign in with it from now on.",
		"provider_cancelled":    "You did not agree there, so nothing was done.",
		"provider_failed":       "The other service did not confirm who you are. Begin again, or choose another way.",
		"not_linked":            "Nobody has connected this account. Sign in another way, and connect it on your Security page first.",
		"already_linked":        "This account is connected already, to you or to somebody else.",
		"way_denied":            "Your administrator does not allow this way. Choose another one.",
		"not_let_in":            "You cannot sign in with this account. If your account is suspended, ask your administrator.",
		"somebody_else":         "That account belongs to somebody else, not to you.",
		"token_deleted":         "The API token was deleted.",
	}
	maps.Copy(l, peopleSayings())
	return l
}

// refusals are the words of sayings that tell what did not happen: they stand out as what is wrong with a form does.
func refusals() []string {
	return []string{"session_over", "contact_gone", "phone_again", "begin_again", "passkey_refused", "provider_cancelled", "provider_failed",
		"not_linked", "already_linked", "way_denied", "not_let_in", "somebody_else"}
}

// peopleSayings are what is said after a change of members, doors and domains.
func peopleSayings() map[string]string {
	return map[string]string{
		"suspended":          "The member is suspended and signed out of everything.",
		"lifted":             "The suspension is removed. The member can sign in again.",
		"member_signed_out":  "The member is signed out everywhere.",
		"member_deleted":     "The member is deleted. You can restore the member for 7 days.",
		"restored":           "The member is restored.",
		"change_asked":       "The member sets a new password at the next sign-in.",
		"two_step_reset":     "The 2-step verification is reset.",
		"thing_deleted":      "Deleted.",
		"door_session_ended": "The session is ended.",

		"door_closed":     "The door is closed. Whoever was connected there is signed out.",
		"door_opened":     "The door is open.",
		"domain_created":  "The domain is created. Add its first administrator.",
		"domain_closed":   "The domain is closed.",
		"domain_reopened": "The domain is open again.",
	}
}
