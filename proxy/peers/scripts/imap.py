"""imaplib signs in, stores, searches, fetches and deletes."""
import imaplib

from endpoint import HOST, PORT, SECURITY, USER, PASSWORD, context

if SECURITY == "tls":
    c = imaplib.IMAP4_SSL(HOST, PORT, ssl_context=context())
else:
    c = imaplib.IMAP4(HOST, PORT)
    if SECURITY == "starttls":
        c.starttls(context())
print(c.login(USER, PASSWORD)[0])
print(c.capability())
c.delete("imaplib")
print(c.create("imaplib"))
for i in range(3):
    print(c.append("imaplib", "\\Seen", None, b"Subject: message %d\r\n\r\ntext \xc3\xa9\r\n" % i)[0])
print(c.select("imaplib"))
print(c.uid("SEARCH", None, "SUBJECT", '"message 1"'))
print(c.fetch("1:*", "(UID FLAGS RFC822.SIZE BODY.PEEK[])"))
print(c.store("2", "+FLAGS", "\\Deleted"))
print(c.expunge())
print(c.close()[0])
print(c.delete("imaplib")[0])
print(c.logout()[0])
