"""Floor 1 · The port behind which accounts are kept: who may log in, as what, for which household, and its vehicles."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from email.utils import parseaddr
from typing import Literal, Protocol

from msgspec import Struct, json
from msgspec.structs import replace

from ingest.assets import ConnectorType
from scheduler.explain import Said
from scheduler.ledger import Outgoing, OutgoingState
from scheduler.sentences import Language

Role = Literal["resident", "committee", "staff", "head", "workstation", "operator", "admin"]
STAFF: frozenset[Role] = frozenset({"staff", "head", "workstation", "operator", "admin"})
"""They see devices and sessions, and ask on behalf of households."""
OPERATORS: frozenset[Role] = frozenset({"operator", "admin"})
"""They give devices commands by hand."""

NAME = r"[A-Za-z0-9_.@+-]{1,64}"
LEAST_PASSWORD, MOST_PASSWORD_BYTES = 10, 72
"""Characters, and bytes of UTF-8: bcrypt looks at no more."""


class Account(Struct, frozen=True, kw_only=True):
    """`password` is a bcrypt hash. A resident has a household, and nobody else needs one. Notices to the household also
    go to `mail`.
    """

    name: str
    role: Role
    household: str | None = None
    language: Language = "zh"
    password: str
    mail: str | None = None


class Login(Struct, frozen=True, kw_only=True):
    """Of a token only its hash is kept. Wall time in milliseconds since 1970."""

    token_hash: str
    account: str
    until_ms: int


class Vehicle(Struct, frozen=True, kw_only=True):
    """A household's car. `max_ac_kw` 0 or `max_dc_kw` 0: it takes none of that."""

    household: str
    id: str
    connector_types: tuple[ConnectorType, ...]
    max_ac_kw: float = 0.0
    max_dc_kw: float = 0.0
    battery_kwh: float


class Told(Struct, frozen=True):
    """A notice as it was written, when, and what became of it."""

    id: str
    body: str
    at_ms: int
    state: OutgoingState


class Review(Struct, frozen=True, kw_only=True):
    """What a household objects to about a turn, and what a person answered."""

    id: str
    turn: str
    household: str
    note: str
    at_ms: int
    answer: str | None = None
    answered_by: str | None = None
    answered_ms: int | None = None


def answered(review: Review, answer: str, by: str, now_ms: int) -> tuple[Review, Outgoing]:
    """The review with a person's answer, and the notice that tells of it."""
    kept = replace(review, answer=answer, answered_by=by, answered_ms=now_ms)
    body = json.encode(Said("answered", turn=review.turn, said={"answer": answer})).decode()
    notice_id = f"{review.id}:answered:{now_ms}"
    return kept, Outgoing(id=notice_id, kind="notice", to=review.household, turn=review.turn, body=body)


class Watched(Struct, frozen=True, kw_only=True):
    """A household wants to be told when a plug is free there for whoever comes; once."""

    id: str
    household: str
    site: str
    at_ms: int


class AccountTaken(Exception):
    """There is an account of that name."""


class HasTurns(Exception):
    """The last account of a household does not go while turns of it are live: `turns` are their ids."""

    def __init__(self, household: str, turns: Sequence[str]) -> None:
        super().__init__(f"household {household} has turns that are not over: {', '.join(turns)}")
        self.household, self.turns = household, turns


class Accounts(Protocol):
    """Safe to call from several threads and processes. Any method may raise LedgerUnavailable."""

    def add(self, account: Account) -> None:
        """Raises AccountTaken."""

    def change(self, account: Account, was: Account | None = None) -> None:
        """Keep it as it is now; of one that `was` read before, only what is otherwise since. Where its password is
        another, whoever was logged in is no longer.
        """

    def account(self, name: str) -> Account | None: ...

    def accounts(self) -> list[Account]:
        """In order of name."""

    def log_in(self, login: Login, password: str, wall_ms: int) -> bool:
        """Keep it, if that is still its account's password (hash); whether it was. Those whose time is over go."""

    def log_out(self, token_hash: str) -> None: ...

    def logged_in(self, token_hash: str, wall_ms: int) -> Account | None:
        """Whose token it is; None where nobody's, or its time is over."""

    def vehicles(self, household: str) -> list[Vehicle]:
        """In order of id."""

    def keep_vehicle(self, vehicle: Vehicle) -> None:
        """Raises UnknownHousehold."""

    def drop_vehicle(self, household: str, vehicle: str) -> bool: ...

    def notices(self, household: str, limit: int = 100) -> list[Told]:
        """The newest first."""

    def review(self, review: Review, telling: Outgoing | None = None) -> None:
        """Keep it, or its answer with the notice that tells of it. Raises UnknownHousehold."""

    def reviews(self, *, household: str | None = None, unanswered: bool = False) -> list[Review]:
        """In order of time."""

    def watch(self, watched: Watched) -> None:
        """Raises UnknownHousehold."""

    def watches(self, household: str | None = None) -> list[Watched]:
        """In order of time."""

    def unwatch(self, watch: str) -> bool: ...

    def tell_free(self, watched: Watched, connector: str, now_ms: int) -> None:
        """Write the notice that a plug is free, and end the watch, together; nothing where it has ended before."""

    def remove(self, name: str) -> None:
        """The account, who is logged in by it, and, where it was its household's last, vehicles, watches, notices and
        the dwelling: turns and what was delivered stay, under an id that says nothing. Raises HasTurns where that is
        the last one and turns are live; then nothing is removed.
        """


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def is_address(text: str) -> bool:
    """Whether mail can be sent there, as far as its form tells; no names of people, no lists."""
    local, at, domain = text.rpartition("@")
    plain = text.isascii() and text.isprintable() and parseaddr(text) == ("", text)
    return plain and bool(local and at and domain) and len(text) <= 254 and not set(text) & set(" ,;<>()")


def name_mistake(name: str) -> str | None:
    """What is wrong with it, in words; None where nothing is."""
    if re.fullmatch(NAME, name):
        return None
    return "a name has 1 to 64 letters, digits, or _ . @ + -"


def password_mistake(password: str) -> str | None:
    if len(password) < LEAST_PASSWORD:
        return f"a password has at least {LEAST_PASSWORD} characters"
    if len(password.encode()) > MOST_PASSWORD_BYTES:
        return f"a password has at most {MOST_PASSWORD_BYTES} bytes"
    return None
