package notify

import "time"

func english() language {
	return language{
		zone: time.UTC, stamp: "2 January 2006 at 15:04 UTC-07:00", nowhere: "an unknown address",
		mend: "If this was not you: change your account password at once, sign out everywhere on the Security page, and tell your administrator.",
		words: map[string]string{
			"on": "on", "off": "off", "line": "Login with LINE", "phone": "Login with phone number", "quick": "Quick login", "passkey": "Passkeys",
			"totp": "authenticator app", "recovery_codes": "recovery codes", "email": "e-mail address", "mobile": "mobile number",
			"account_password": "the account password", "imap": "IMAP", "smtp": "SMTP", "pop3": "POP3", "caldav": "CalDAV", "carddav": "CardDAV", "web": "the web",
		},
		kinds: map[Kind]wording{
			AppPasswordCreated: {"A third-party app password was created",
				"The app password \"{name}\" of {address} was created on {at} from {from}.\n\nIf this was not you: delete it on the Security page at once and change your account password."},
			MemberSuspended: {"A member was suspended: {address}",
				"{address} was suspended on {at} after too many wrong passwords, the last from {from}. Only an administrator can lift the suspension.\n\nIf it was not the member: tell him before you lift it, and reset his password."},
			GuessingSlowed: {"Wrong passwords for {address}",
				"There were too many wrong passwords for {address}, the last on {at} from {from}. This account is never suspended: attempts are slowed.\n\nIf this was not you: do nothing but keep your password to yourself, and tell the other administrators."},
			PasswordChanged: {"Your password was changed",
				"The account password of {address} was changed on {at} from {from}.\n\nIf this was not you: tell your administrator at once."},
			PasswordWasReset: {"Your password was reset",
				"An administrator reset the account password of {address} on {at} from {from}. You set your own when you next sign in on the web.\n\nIf you did not ask for this: ask your administrator."},
			TwoStepChanged: {"2-step verification was changed",
				"2-step verification of {address} was switched {name} on {at} from {from}.\n\n{mend}"},
			TwoStepOffered: {"2-step verification is your choice now",
				"Since {at} your administrator (from {from}) does not ask {address} for 2-step verification any more. Your verified contacts are kept: you may switch it on yourself on the Security page.\n\nIf you want it to stay on: switch it on now."},
			MethodChanged: {"Your ways of 2-step verification were changed",
				"The 2-step verification of {address} was changed on {at} from {from}: {name}.\n\n{mend}"},
			ContactChanged: {"Your contacts were changed",
				"A contact of {address} was changed on {at} from {from}: {name}. Verification numbers go to the new one.\n\n{mend}"},
			WayAllowed: {"A new way to sign in: {name}",
				"Since {at} you can use {name} to sign in as {address}. Your administrator has allowed it (from {from}). Set it up on the Security page.\n\nIf you do not want it: do nothing, it stays unused."},
			LinkChanged: {"A way to sign in was changed",
				"{name} was linked to {address} or unlinked on {at} from {from}. The Security page shows what is linked.\n\n{mend}"},
			QuickChanged: {"Quick login was changed",
				"Quick login of {address} was registered or removed on {at} from {from}, on the device \"{name}\".\n\n{mend}"},
			CounterWentBack: {"A passkey may have been copied",
				"A sign-in to {address} was refused on {at} from {from}: the counter of \"{name}\" went back, so there may be two of it. If it is the device of quick login or the passkey that you use, delete it on the Security page and register it anew.\n\n{mend}"},
			NewClient: {"New sign-in to your account",
				"{address} was signed in to over {door} on {at} from {from}, for the first time from that network, with: {name}.\n\nIf this was not you: delete that app password on the Security page at once and change your account password."},
			SignInCode: {"Your verification number",
				"{code} is your verification number for signing in. It was asked for on {at} from {from} and is good for five minutes. Tell it to nobody.\n\nIf this was not you: do nothing, and tell your administrator."},
			TokenCreated: {"An API token was created",
				"The API token \"{name}\" of {address} was created on {at} from {from}.\n\nIf this was not you: delete the token at once and change your account password."},
			AddressesFound: {"Your addresses",
				"On {at} somebody asked from {from} which accounts name this contact:\n\n{lines}\n\nIf this was not you: do nothing. Nothing was changed."},
			CodeSent: {"Your verification number",
				"{code} is your verification number. It is good for five minutes. Tell it to nobody."},
		},
	}
}
