"""Every person of a demo, with Python's own modules: argv[1] is the demo's description."""
import imaplib, json, poplib, smtplib, ssl, sys, urllib.error, urllib.request

with open(sys.argv[1]) as f:
    demo = json.load(f)
context = ssl.create_default_context(cafile=demo["ca"])


def at(door):
    return "localhost", int(demo["doors"][door].rsplit(":", 1)[1])


def imap(name, password, tls):
    box = imaplib.IMAP4_SSL(*at("imaps"), ssl_context=context) if tls else imaplib.IMAP4(*at("imap"))
    if not tls:
        box.starttls(context)
    try:
        box.login(name, password)
        kind, n = box.select("INBOX")
        assert kind == "OK" and int(n[0]) >= 1, (kind, n)
    finally:
        box.shutdown()


def smtp(name, password, tls):
    box = smtplib.SMTP_SSL(*at("submissions"), context=context) if tls else smtplib.SMTP(*at("submission"))
    with box:
        if not tls:
            box.starttls(context=context)
        box.login(name, password)
        box.sendmail(name, [name], "Subject: to myself\n\nhello\n")


def pop3(name, password, tls):
    box = poplib.POP3_SSL(*at("pop3s"), context=context) if tls else poplib.POP3(*at("pop3"))
    if not tls:
        box.stls(context)
    box.user(name)
    box.pass_(password)
    assert box.stat()[0] >= 1
    box.quit()


refusals = (imaplib.IMAP4.error, smtplib.SMTPAuthenticationError, poplib.error_proto)
enters = {"account", "admin"}  # with the account password
for person in demo["people"]:
    words = [(person["account_password"], person["state"] in enters)]
    words += [(a["password"], True) for a in person["app_passwords"]]
    for password, expected in words:
        for program in (imap, smtp, pop3):
            for tls in (True, False):
                try:
                    program(person["address"], password, tls)
                    entered = True
                except refusals as e:
                    entered = False
                assert entered == expected, (person["state"], program.__name__, tls, entered)
print("as it should be")
