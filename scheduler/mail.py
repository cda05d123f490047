"""Floor 3 · Notices by mail: each once to each address, handed to the operator's mail server (SMTP, RFC 5321).

It is spoken step by step, as only so it is known whether a mail that failed was certainly not taken.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from email.message import EmailMessage
from hashlib import sha256
from ipaddress import ip_address
from smtplib import SMTP, SMTP_SSL, SMTPDataError, SMTPException
from ssl import create_default_context
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from scheduler.accounts import Account, is_address
from scheduler.explain import Said
from scheduler.ledger import Outgoing
from scheduler.post import NotDelivered, NotYet, Unsure
from scheduler.sentences import Sentence
from scheduler.turns import Turn, is_live

WITHIN_S = 10.0
TAKEN, LATER = 2, 4
"""First digits of answers: it was done; it was not, and may be tried again."""
PASSING = frozenset({"offer", "reserved", "soon", "asked", "charged", "stopped", "unheard"})
"""Of no use to anybody once the turn is over."""


class MailServer(NamedTuple):
    host: str
    port: int
    user: str
    password: str
    sender: str
    tls: str
    """`at_once`, `after_hello` (STARTTLS), or `none`, which is for this machine alone."""


def mail_server(url: str) -> MailServer:
    """`smtp[s]://[USER:PASSWORD@]HOST[:PORT]/?from=ADDRESS`. Raises ValueError in one line that holds no password."""
    try:
        said = urlsplit(url)
        host, port = said.hostname, said.port
    except ValueError:
        raise ValueError("must be smtp[s]://[USER:PASSWORD@]HOST[:PORT]/?from=ADDRESS") from None
    sender = parse_qs(said.query).get("from", [""])[0]
    if said.scheme not in ("smtp", "smtps") or not host:
        raise ValueError("must be smtp[s]://[USER:PASSWORD@]HOST[:PORT]/?from=ADDRESS")
    if not is_address(sender):
        raise ValueError("must say who sends: ?from=ADDRESS at its end")
    tls = "at_once" if said.scheme == "smtps" else "none" if _is_this_machine(host) else "after_hello"
    usual = 465 if said.scheme == "smtps" else 587
    return MailServer(host, port or usual, unquote(said.username or ""), unquote(said.password or ""), sender, tls)


class Mailer:
    """`account` is looked up as a mail leaves: an address that is gone gets none."""

    def __init__(self, server: MailServer, timezone: str, account: Callable[[str], Account | None]) -> None:
        self._server, self._timezone, self._account = server, timezone, account

    def __call__(self, item: Outgoing, said: Said, turn: Turn | None) -> None:
        """Raises NotDelivered, NotYet or Unsure."""
        to = self._account(item.to)
        if to is None or to.mail is None:
            raise Unsure("there is no address any more")
        if said.what in PASSING and (turn is None or not is_live(turn)):
            raise Unsure("it is over")
        self._hand_over(to.mail, self._written(item, said, turn, to).as_bytes())

    def _written(self, item: Outgoing, said: Said, turn: Turn | None, to: Account) -> EmailMessage:
        mail = EmailMessage()
        title = Sentence("mail_title_turn", {"call": turn.call}) if turn is not None else Sentence("mail_title")
        try:
            text = said.sentence(turn).text(to.language, self._timezone)
        except KeyError as old:  # written by a version that kept no values with it
            raise Unsure("what it says is not known any more") from old
        mail["From"], mail["To"] = self._server.sender, to.mail
        mail["Subject"] = title.text(to.language, self._timezone)
        of = self._server.sender.rpartition("@")[2]
        mail["Message-ID"] = f"<{sha256(item.id.encode()).hexdigest()[:32]}@{of}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text)
        return mail

    def _hand_over(self, to: str, mail: bytes) -> None:
        try:
            smtp = self._connected()
        except (OSError, SMTPException) as away:
            raise NotDelivered(f"the mail server: {away}") from away
        try:
            _must(smtp.mail(self._server.sender), alone=False)
            _must(smtp.rcpt(to), alone=True)
            try:
                answer = smtp.data(mail)
            except SMTPDataError as refused:
                answer = refused.smtp_code, b""
            except (OSError, SMTPException) as cut:
                raise Unsure(str(cut)) from cut
            _must(answer, alone=True)
        except (OSError, SMTPException) as away:
            raise NotDelivered(f"the mail server: {away}") from away
        finally:
            with suppress(OSError, SMTPException):  # how it says goodbye changes nothing
                smtp.quit()

    def _connected(self) -> SMTP:
        server = self._server
        if server.tls == "at_once":
            smtp: SMTP = SMTP_SSL(server.host, server.port, timeout=WITHIN_S, context=create_default_context())
        else:
            smtp = SMTP(server.host, server.port, timeout=WITHIN_S)
        try:
            if server.tls == "after_hello":
                smtp.starttls(context=create_default_context())
            smtp.ehlo_or_helo_if_needed()
            if server.user:
                smtp.login(server.user, server.password)
        except BaseException:
            smtp.close()
            raise
        return smtp


def no_mail(_item: Outgoing, _said: Said, _turn: Turn | None) -> None:
    """Where no mail server is set: what was written while there was one is not sent."""
    raise Unsure("no mail server is set")


def _must(answer: tuple[int, bytes], *, alone: bool) -> None:
    """`alone`: what is refused is refused of this mail, and others may leave."""
    first = answer[0] // 100
    if first == TAKEN:
        return
    why = f"the mail server answered {answer[0]}"
    if not alone:
        raise NotDelivered(why)
    raise NotYet(why) if first == LATER else Unsure(why)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
