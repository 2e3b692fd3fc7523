"""A mail server for tests: SMTP by aiosmtpd, over TLS, for whoever knows the password. It refuses what real ones refuse.

Commands come as lines of JSON on standard input, what happens goes as lines of JSON to standard output:

    {"reply": ["RCPT", "451 4.3.0 try again"]}   the next RCPT (or DATA) is answered so
    {"close": true} / {"listen": true}           it is down, or up again on the same port
"""

import asyncio
import email
import email.policy
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult

# That TLS from the first byte is no STARTTLS is meant.
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
kind, certificate, key, user, password, domain = sys.argv[1:7]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_2
context.load_cert_chain(certificate, key)
replies = {"RCPT": [], "DATA": [], "AUTH": []}


def say(**what):
    print(json.dumps(what), flush=True)


def refused(answer):
    say(refused=answer)
    return answer


def queued(where):
    return replies[where].pop(0) if replies[where] else None


def authenticate(server, session, envelope, mechanism, data):
    answer = queued("AUTH")
    if answer:
        say(refused=answer)
        return AuthResult(success=False, handled=False, message=answer)
    encrypted = session.ssl is not None or kind == "tls"
    given = (data.login.decode(), data.password.decode()) == (user, password)
    if not encrypted:
        say(refused="a password in plain text")
    elif not given:
        say(refused="535 a wrong password")
    return AuthResult(success=encrypted and given, handled=False)


class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        if not session.authenticated:
            return refused("530 5.7.0 Authentication required")
        if not address.endswith("@" + domain):
            return refused("553 5.7.1 Sender address rejected: not owned by user")
        envelope.mail_from = address
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = queued("RCPT")
        if answer:
            return refused(answer)
        if address.startswith("nobody@"):
            return refused("550 5.1.1 User unknown")
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = queued("DATA")
        if answer and not answer.startswith("250-lost"):
            return refused(answer)
        raw = envelope.content
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        wrong = self.wrong(raw, mail, envelope)
        if wrong:
            return refused(f"554 5.6.0 {wrong}")
        parts = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
        say(
            taken={
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "encrypted": session.ssl is not None or kind == "tls",
                "headers": {name: str(value) for name, value in mail.items()},
                "names": [name for name, _ in mail.items()],
                "text": parts["text/plain"],
                "html": parts["text/html"],
            }
        )
        if answer:
            # It took the mail, and the connection breaks before it could say so.
            server.transport.abort()
        return "250 2.0.0 Ok: queued"

    @staticmethod
    def wrong(raw, mail, envelope):
        if b"\n" in raw.replace(b"\r\n", b""):
            return "bare line feeds"
        if any(len(line) > 998 for line in raw.split(b"\r\n")):
            return "a line is too long"
        if any(byte > 127 for byte in raw.split(b"\r\n\r\n", 1)[0]):
            return "a header that is not ASCII"
        defects = [str(defect) for part in mail.walk() for defect in part.defects]
        if defects:
            return f"it is malformed: {defects[0]}"
        for name in ("From", "To", "Date", "Message-ID", "Subject", "MIME-Version"):
            if len(mail.get_all(name, [])) != 1:
                return f"{name} has to be there once"
        if [one.addr_spec for one in mail["From"].addresses] != [envelope.mail_from]:
            return "From is not who sends it"
        if [one.addr_spec for one in mail["To"].addresses] != envelope.rcpt_tos:
            return "To is not who gets it"
        if mail.get_content_type() != "multipart/alternative":
            return "it is not plain text with HTML as an alternative"
        if [part.get_content_type() for part in mail.iter_parts()] != ["text/plain", "text/html"]:
            return "its parts are not plain text and then HTML"
        return None


def protocol():
    return SMTP(
        Handler(),
        hostname="localhost",
        ident="test",
        tls_context=context if kind == "starttls" else None,
        require_starttls=kind == "starttls",
        authenticator=authenticate,
        auth_required=True,
        auth_require_tls=kind == "starttls",
        enable_SMTPUTF8=False,
        data_size_limit=200_000,
    )


async def main():
    loop = asyncio.get_running_loop()
    implicit = context if kind == "tls" else None
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=implicit)
    port = server.sockets[0].getsockname()[1]
    say(port=port)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        if "reply" in command:
            where, answer = command["reply"]
            replies[where].append(answer)
        if command.get("close"):
            server.close()
        if command.get("listen"):
            server = await loop.create_server(protocol, "127.0.0.1", port, ssl=implicit)
        say(done=True)


asyncio.run(main())
