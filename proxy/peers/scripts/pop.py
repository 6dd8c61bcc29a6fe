"""poplib signs in, lists, retrieves and deletes."""
import poplib

from endpoint import HOST, PORT, SECURITY, USER, PASSWORD, context

if SECURITY == "tls":
    c = poplib.POP3_SSL(HOST, PORT, context=context())
else:
    c = poplib.POP3(HOST, PORT)
    if SECURITY == "starttls":
        c.stls(context())
c.user(USER)
print(c.pass_(PASSWORD)[:3])
print(sorted(c.capa()))
print(c.stat())
print(c.list())
count = c.stat()[0]
for i in range(1, count + 1):
    lines = c.retr(i)[1]
    print(lines[lines.index(b"Subject: first" if i == 1 else b"Subject: second"):])
print(c.dele(1))
print(c.quit())
