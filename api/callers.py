"""Floor 3 · Who asks: the admin token, or an account by its token or cookie; and what each may."""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from msgspec import Struct

from api.deps import Ctx
from api.problems import CrossSite, Forbidden, NotReady, Unauthorized
from api.turns import Turns
from scheduler.accounts import OPERATORS, STAFF, Role, token_hash
from scheduler.ledger import LedgerUnavailable

COOKIE = "lunchong"
RETRY_S = 5
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

T = TypeVar("T")


class Caller(Struct, frozen=True):
    """`name` stands in the audit. The admin token is an admin of its own, without an account."""

    name: str
    role: Role
    household: str | None = None
    has_account: bool = True

    @property
    def is_staff(self) -> bool:
        return self.role in STAFF


bearer = HTTPBearer(
    auto_error=False, scheme_name="token", description="A token from POST /login, or the file admin-token"
)


def asked_of_ledger(what: Callable[[], T]) -> T:
    """What the ledger answers, or the problem that it is away."""
    try:
        return what()
    except LedgerUnavailable as away:
        raise _away() from away


def given(ctx: Ctx) -> Turns:
    if ctx.turns is None:
        raise NotReady("Nobody gives turns here: the time that is served here is not now.")
    if (turns := ctx.turns()) is None:
        raise _away()
    return turns


def caller(
    request: Request,
    ctx: Ctx,
    response: Response,
    said: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> Caller:
    """Who asks; Unauthorized where nobody is known by what was sent. A near miss takes as long as a far one."""
    response.headers["Cache-Control"] = "no-store"
    if said is not None and compare_digest(said.credentials.encode(), ctx.admin_token.encode()):
        return Caller("staff", "admin", has_account=False)
    token = said.credentials if said is not None else request.cookies.get(COOKIE)
    if token is None or ctx.turns is None:
        raise Unauthorized(headers={"WWW-Authenticate": "Bearer"})
    if said is None and request.method not in SAFE and not _is_same_origin(request):
        raise CrossSite
    turns = given(ctx)
    account = asked_of_ledger(lambda: turns.accounts.logged_in(token_hash(token), ctx.wall_ms()))
    if account is None:
        raise Unauthorized(headers={"WWW-Authenticate": "Bearer"})
    return Caller(account.name, account.role, account.household)


Asker = Annotated[Caller, Depends(caller)]


def staff(who: Asker) -> Caller:
    if not who.is_staff:
        raise Forbidden("This is for staff.")
    return who


def operator(who: Asker) -> Caller:
    if who.role not in OPERATORS:
        raise Forbidden("This is for operators.")
    return who


class Member(Struct, frozen=True):
    """A caller with an account of a household."""

    name: str
    household: str


def member(who: Asker) -> Member:
    if who.household is None:
        raise Forbidden("This account belongs to no household.")
    return Member(who.name, who.household)


Given = Annotated[Turns, Depends(given)]
Staff = Annotated[Caller, Depends(staff)]
OfHousehold = Annotated[Member, Depends(member)]


def _away() -> NotReady:
    return NotReady("The ledger of turns is away.", headers={"Retry-After": str(RETRY_S)})


def _is_same_origin(request: Request) -> bool:
    """Whether a page of ours asks: browsers say so, and what is no browser sends no cookie of its own accord."""
    if (fetched := request.headers.get("sec-fetch-site")) is not None:
        return fetched in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")
