"""A real SMTP server (aiosmtpd) for the tests of e-mail: writes each message to a file of its own.

    smtp_sink.py PORT DIRECTORY [CERTIFICATE KEY]

With a certificate it requires STARTTLS and then the login fettle / right.
"""
import os
import ssl
import sys
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Writer:
    async def handle_DATA(self, server, session, envelope):
        if any("refused" in address for address in envelope.rcpt_tos):
            return "550 no such mailbox"
        name = os.path.join(sys.argv[2], f"{time.time_ns()}")
        with open(name + ".part", "wb") as out:
            out.write(f"X-Tls: {session.ssl is not None}\nX-To: {envelope.rcpt_tos}\n".encode())
            out.write(envelope.content)
        os.rename(name + ".part", name + ".eml")
        return "250 kept"


def authenticate(server, session, envelope, mechanism, login):
    return AuthResult(success=login.login == b"fettle" and login.password == b"right")


more = {}
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    more = {
        "tls_context": context,
        "require_starttls": True,
        "auth_required": True,
        "authenticator": authenticate,
    }
Controller(Writer(), hostname="127.0.0.1", port=int(sys.argv[1]), **more).start()
while os.getppid() != 1:
    time.sleep(1)
