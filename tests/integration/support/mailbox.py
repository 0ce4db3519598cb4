"""A mail server on loopback that keeps what it is given (aiosmtpd)."""
import email
import email.policy
import ssl

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from servers import free_port, wait_until


class Mailbox:
    """
    certificate  (certificate, key) of TLS; None: plain
    smtps        TLS from the start instead of STARTTLS
    login        (user, password) that it asks for
    answer       called with the envelope before a mail is taken; a text such as "550 no" refuses it
    mails        what came, as email.message.EmailMessage
    """

    def __init__(self, certificate=None, smtps=False, login=None, answer=None, port=None):
        self.port = port or free_port()
        self.smtps, self.login, self.answer = smtps, login, answer
        self.mails, self.envelopes, self.sessions = [], [], []
        options = {}
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            options.update({"ssl_context": context} if smtps else {"tls_context": context, "require_starttls": True})
        if login:
            options.update(authenticator=self._authenticate, auth_required=True, auth_require_tls=bool(certificate) and not smtps)
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)

    def _authenticate(self, server, session, envelope, mechanism, data):
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self.login, handled=False)

    async def handle_DATA(self, server, session, envelope):
        refusal = self.answer(envelope) if self.answer else None
        if refusal:
            return refusal
        self.envelopes.append(envelope)
        self.sessions.append(session)
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 taken"

    def url(self, user=None):
        who = f"{user[0]}:{user[1]}@" if user else ""
        return f"{'smtps' if self.smtps else 'smtp'}://{who}127.0.0.1:{self.port}"

    def wait_for(self, n, deadline_s=20):
        wait_until(lambda: len(self.mails) >= n, deadline_s, what=f"{n} mails")
        return self.mails

    def start(self):
        self._controller.start()
        return self

    def stop(self):
        self._controller.stop()

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()
