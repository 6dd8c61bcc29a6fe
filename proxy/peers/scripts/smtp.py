"""smtplib signs in and sends one message to two recipients, and one that is refused."""
import smtplib

from endpoint import HOST, PORT, SECURITY, USER, PASSWORD, context

if SECURITY == "tls":
    c = smtplib.SMTP_SSL(HOST, PORT, local_hostname="client.example", context=context())
else:
    c = smtplib.SMTP(HOST, PORT, local_hostname="client.example")
    if SECURITY == "starttls":
        c.starttls(context=context())
print(c.login(USER, PASSWORD)[0])
text = b"From: <" + USER.encode() + b">\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@client.example>\r\nSubject: smtplib\r\n\r\n.\r\ntext\r\n"
print(c.sendmail(USER, ["smtplib@elsewhere.example", "second@elsewhere.example"], text, mail_options=["BODY=8BITMIME"]))
try:
    c.sendmail(USER, ["no domain"], text)
except smtplib.SMTPRecipientsRefused as e:
    print(e)
c.quit()
