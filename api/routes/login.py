"""Floor 4 · Logging in and out."""

from __future__ import annotations

from secrets import token_urlsafe
from typing import Annotated

import bcrypt
from fastapi import APIRouter, Cookie, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials

from api.callers import COOKIE, Asker, Given, Staff, asked_of_ledger, bearer
from api.deps import Ctx, client_address, is_https
from api.limiter import Limiter
from api.problems import CrossSite, Forbidden, Invalid, NotReady, TooManyRequests, Unauthorized, WrongLogin, responses
from api.schemas_me import AccountAnswer, AccountsAnswer, LoginAnswer, LoginWish
from ingest.clock import DAY_MS, rfc3339
from scheduler.accounts import MOST_PASSWORD_BYTES, Login, name_mistake, token_hash

router = APIRouter(prefix="/api/v1", tags=["accounts"])

LASTS_MS = 30 * DAY_MS
"""Of the wall."""
NOBODY = b"$2b$12$ol6jrCAebr4PzeOmSOm5pe6vv.P3WTJhZTVKDVjNsL2.2kG0HZPze"
"""Of a password that nobody knows, as costly as those of accounts: looked at for a name that is not there, so that its
answer takes as long.
"""


class Limits:
    """A person mistypes a few times; who guesses is slowed by name and by address."""

    def __init__(self) -> None:
        self._by_name = Limiter(burst=5, every_s=60)
        self._by_address = Limiter(burst=20, every_s=10)

    def admit(self, name: str, address: str, mono_s: float) -> None:
        wait_s = self._by_address.wait_s(address, mono_s) or self._by_name.wait_s(name, mono_s)
        if wait_s:
            raise TooManyRequests(headers={"Retry-After": str(int(wait_s) + 1)})


@router.post("/login", responses=responses(WrongLogin, Invalid, TooManyRequests, NotReady))
def log_in(request: Request, response: Response, ctx: Ctx, given: Given, wish: LoginWish) -> LoginAnswer:
    """A token for 30 days, also as a cookie for browsers."""
    request.app.state.login_limits.admit(wish.name, client_address(request, ctx), ctx.mono_s())
    is_name = name_mistake(wish.name) is None
    account = asked_of_ledger(lambda: given.accounts.account(wish.name)) if is_name else None
    if not is_password(wish.password, account.password if account else None) or account is None:
        raise WrongLogin
    token, until_ms = token_urlsafe(32), ctx.wall_ms() + LASTS_MS
    login = Login(token_hash=token_hash(token), account=account.name, until_ms=until_ms)
    if not asked_of_ledger(lambda: given.accounts.log_in(login, account.password, ctx.wall_ms())):
        raise WrongLogin
    response.headers["Cache-Control"] = "no-store"
    response.set_cookie(
        COOKIE, token, max_age=LASTS_MS // 1_000, path="/", httponly=True, samesite="strict",
        secure=is_https(request, ctx),
    )  # fmt: skip
    return LoginAnswer(token=token, expires_at=rfc3339(until_ms), role=account.role)


@router.delete("/login", status_code=204, responses=responses(Unauthorized, CrossSite, NotReady))
def log_out(
    response: Response,
    given: Given,
    _who: Asker,
    token: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    cookie: Annotated[str | None, Cookie(alias=COOKIE)] = None,
) -> None:
    """The token that was sent holds no longer."""
    said = token.credentials if token is not None else cookie
    asked_of_ledger(lambda: given.accounts.log_out(token_hash(said or "")))
    response.delete_cookie(COOKIE, path="/")


@router.get("/accounts", responses=responses(Unauthorized, Forbidden, NotReady))
def accounts(given: Given, _who: Staff) -> AccountsAnswer:
    """All accounts, in order of name. For staff."""
    found = asked_of_ledger(given.accounts.accounts)
    return AccountsAnswer(items=[AccountAnswer(name=one.name, role=one.role, household=one.household) for one in found])


def is_password(said: str, kept: str | None) -> bool:
    """Takes as long where nothing is kept."""
    cut = said.encode()
    is_right = bcrypt.checkpw(cut[:MOST_PASSWORD_BYTES], kept.encode() if kept is not None else NOBODY)
    return is_right and kept is not None and len(cut) <= MOST_PASSWORD_BYTES
