package notify

import "time"

func korean() language {
	return language{
		zone: time.FixedZone("", 9*3600), stamp: "2006년 1월 2일 15:04 (UTC-07:00)", nowhere: "알 수 없는 주소",
		mend: "본인이 아니라면 즉시 계정 비밀번호를 변경하고, 보안 페이지에서 모든 기기에서 로그아웃한 뒤 관리자에게 알려 주세요.",
		words: map[string]string{
			"on": "켜짐", "off": "꺼짐", "line": "LINE으로 로그인", "phone": "전화번호로 로그인", "quick": "간편 로그인", "passkey": "패스키",
			"totp": "인증 앱", "recovery_codes": "복구 코드", "email": "이메일 주소", "mobile": "휴대전화 번호",
			"account_password": "계정 비밀번호", "imap": "IMAP", "smtp": "SMTP", "pop3": "POP3", "caldav": "CalDAV", "carddav": "CardDAV", "web": "웹",
		},
		kinds: map[Kind]wording{
			AppPasswordCreated: {"외부 앱 비밀번호가 생성되었습니다",
				"{address}의 외부 앱 비밀번호 \"{name}\"이(가) {at}에 {from}에서 생성되었습니다.\n\n본인이 아니라면 즉시 보안 페이지에서 삭제하고 계정 비밀번호를 변경하세요."},
			MemberSuspended: {"구성원이 정지되었습니다: {address}",
				"{address} 계정이 비밀번호 오류가 너무 많아 {at}에 정지되었습니다. 마지막 시도는 {from}에서 있었습니다. 관리자만 정지를 해제할 수 있습니다.\n\n구성원 본인이 아니라면 해제하기 전에 본인에게 알리고 비밀번호를 재설정하세요."},
			GuessingSlowed: {"{address}의 비밀번호 오류",
				"{address}의 비밀번호 오류가 너무 많습니다. 마지막 시도는 {at}, {from}에서 있었습니다. 이 계정은 정지되지 않으며 시도 간격이 길어집니다.\n\n본인이 아니라면 비밀번호를 누구에게도 알리지 말고 다른 관리자에게 알려 주세요."},
			PasswordChanged: {"비밀번호가 변경되었습니다",
				"{address}의 계정 비밀번호가 {at}에 {from}에서 변경되었습니다.\n\n본인이 아니라면 즉시 관리자에게 알려 주세요."},
			PasswordWasReset: {"비밀번호가 재설정되었습니다",
				"관리자가 {at}에 {from}에서 {address}의 계정 비밀번호를 재설정했습니다. 다음에 웹에 로그인할 때 새 비밀번호를 설정하세요.\n\n요청한 적이 없다면 관리자에게 문의하세요."},
			TwoStepChanged: {"2단계 인증 설정이 변경되었습니다",
				"{address}의 2단계 인증이 {at}에 {from}에서 변경되었습니다: {name}.\n\n{mend}"},
			TwoStepOffered: {"이제 2단계 인증을 선택할 수 있습니다",
				"{at}에 관리자({from})가 {address}의 2단계 인증 필수 설정을 해제했습니다. 확인된 연락처는 유지됩니다. 보안 페이지에서 직접 켤 수 있습니다.\n\n계속 사용하려면 지금 켜 주세요."},
			MethodChanged: {"2단계 인증 방법이 변경되었습니다",
				"{address}의 2단계 인증 방법이 {at}에 {from}에서 변경되었습니다: {name}.\n\n{mend}"},
			ContactChanged: {"연락처가 변경되었습니다",
				"{address}의 연락처가 {at}에 {from}에서 변경되었습니다: {name}. 인증번호는 새 연락처로 발송됩니다.\n\n{mend}"},
			WayAllowed: {"새로운 로그인 방법: {name}",
				"{at}부터 {address} 로그인에 \"{name}\"을(를) 사용할 수 있습니다. 관리자({from})가 허용했습니다. 보안 페이지에서 설정하세요.\n\n사용하지 않으려면 아무것도 하지 않아도 됩니다."},
			LinkChanged: {"로그인 방법이 변경되었습니다",
				"{address}의 \"{name}\" 연결이 {at}에 {from}에서 변경되었습니다. 연결 상태는 보안 페이지에서 확인할 수 있습니다.\n\n{mend}"},
			QuickChanged: {"간편 로그인이 변경되었습니다",
				"{address}의 간편 로그인이 기기 \"{name}\"에서 {at}에 {from}에서 등록되거나 삭제되었습니다.\n\n{mend}"},
			CounterWentBack: {"패스키가 복제되었을 수 있습니다",
				"{at}에 {from}에서 {address} 로그인이 거부되었습니다. \"{name}\"의 카운터가 되돌아가 복제되었을 가능성이 있습니다. 사용 중인 것이라면 보안 페이지에서 삭제하고 다시 등록하세요.\n\n{mend}"},
			NewClient: {"계정에 새로운 로그인이 있었습니다",
				"{address} 계정에 {at}에 {from}에서 {door}(으)로 로그인이 있었습니다. 이 네트워크에서는 처음입니다. 사용된 자격 증명: {name}.\n\n본인이 아니라면 즉시 보안 페이지에서 해당 앱 비밀번호를 삭제하고 계정 비밀번호를 변경하세요."},
			SignInCode: {"인증번호",
				"로그인 인증번호는 {code} 입니다. {at}에 {from}에서 요청되었습니다. 5분간 유효합니다. 누구에게도 알려 주지 마세요.\n\n본인이 아니라면 아무것도 하지 말고 관리자에게 알려 주세요."},
			TokenCreated: {"API 토큰이 생성되었습니다",
				"{address}의 API 토큰 \"{name}\"이(가) {at}에 {from}에서 생성되었습니다.\n\n본인이 아니라면 즉시 토큰을 삭제하고 계정 비밀번호를 변경하세요."},
			AddressesFound: {"고객님의 주소",
				"{at}에 {from}에서 이 연락처가 등록된 계정을 조회했습니다:\n\n{lines}\n\n본인이 아니라면 아무것도 하지 않아도 됩니다. 변경된 것은 없습니다."},
			CodeSent: {"인증번호",
				"인증번호는 {code} 입니다. 5분간 유효합니다. 누구에게도 알려 주지 마세요."},
		},
	}
}
