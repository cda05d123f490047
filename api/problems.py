"""Floor 3 · What can go wrong, one class a meaning, told as RFC 9457 problem+json with a stable type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

MEDIA_TYPE = "application/problem+json"


class Mistake(BaseModel):
    """One field of a request that is not as it must be."""

    where: str = Field(examples=["query.minutes"])
    what: str = Field(examples=["Input should be less than or equal to 60"])


class ProblemAnswer(BaseModel):
    """RFC 9457. `type` names the kind of problem and never changes; it is also the address of a page about it."""

    type: str = Field(examples=["/problems/unknown-site"])
    title: str = Field(examples=["No such site"])
    status: int = Field(examples=[404])
    detail: str | None = Field(default=None, examples=["There is no site 'jn-99'."])
    instance: str | None = Field(default=None, examples=["/api/v1/sites/jn-99"])
    errors: list[Mistake] | None = None


class Problem(Exception):
    """Raise a subclass; its docstring is what /problems/{slug} tells."""

    slug: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int]

    def __init__(
        self, detail: str | None = None, *, errors: Sequence[Mistake] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail or self.title)
        self.detail, self.errors, self.headers = detail, list(errors), dict(headers or {})

    @property
    def type(self) -> str:
        return f"/problems/{self.slug}"


class NotFound(Problem):
    """Nothing lives at this address. The addresses are listed at /docs."""

    slug, title, status = "not-found", "Nothing here", 404


class UnknownSite(Problem):
    """The inventory has no site of that id. GET /api/v1/sites lists them."""

    slug, title, status = "unknown-site", "No such site", 404


class UnknownDevice(Problem):
    """The inventory has no device of that name at that site."""

    slug, title, status = "unknown-device", "No such device", 404


class NoRules(Problem):
    """No rules were agreed for this site, and its inventory entry has no initial ones."""

    slug, title, status = "no-rules", "No rules here yet", 404


class MethodNotAllowed(Problem):
    """The address exists, but not for this method. The Allow header names those that work."""

    slug, title, status = "method-not-allowed", "Not with this method", 405


class TooLarge(Problem):
    """The request's body is larger than any request of this API needs to be."""

    slug, title, status = "too-large", "Body too large", 413


class Invalid(Problem):
    """Parameters or body are not as /openapi.json says. `errors` names each field and what is wrong with it."""

    slug, title, status = "invalid", "The request is not valid", 422


class UnknownConnector(Problem):
    """The request names a connector (SITE/DEVICE/NUMBER) that the inventory does not have."""

    slug, title, status = "unknown-connector", "No such connector", 404


class UnknownTrouble(Problem):
    """No trouble of that id waits: it was cleared, or never was."""

    slug, title, status = "unknown-trouble", "No such trouble", 404


class UnknownTurn(Problem):
    """Nobody asked for a turn of that id."""

    slug, title, status = "unknown-turn", "No such turn", 404


class UnknownHousehold(Problem):
    """No household of that id is registered. PUT /api/v1/households/{id} registers one."""

    slug, title, status = "unknown-household", "No such household", 404


class DwellingIsTaken(Problem):
    """Another household is registered in that dwelling, and one dwelling is one household."""

    slug, title, status = "dwelling-taken", "The dwelling has a household", 409


class NotNow(Problem):
    """The turn's state does not allow that now: the offer's time is over, say, or the turn has ended. GET it to see."""

    slug, title, status = "not-now", "Not possible now", 409


class RefusedByRule(Problem):
    """A rule of the site refuses the wish; `detail` says which. A wish for a turn is kept as one in state `rejected`; a
    turn that was to go on at another site stays where it is.
    """

    slug, title, status = "refused-by-rule", "A rule refuses it", 422


class UnknownVehicle(Problem):
    """The household has no vehicle of that id. PUT /api/v1/me/vehicles/{id} adds one."""

    slug, title, status = "unknown-vehicle", "No such vehicle", 404


class UnknownWatch(Problem):
    """The household watches nothing of that id: it was told, or never was."""

    slug, title, status = "unknown-watch", "No such watch", 404


class UnknownReview(Problem):
    """Nobody asked for a review of that id."""

    slug, title, status = "unknown-review", "No such review", 404


class TooManyWatches(Problem):
    """A household watches a few sites at a time. DELETE one that is no longer needed."""

    slug, title, status = "too-many-watches", "Too many watches", 409


class TooManyReviews(Problem):
    """A few objections to one turn wait for an answer already. A person reads them: wait for what they answer."""

    slug, title, status = "too-many-reviews", "Too many objections", 409


class Unauthorized(Problem):
    """Nobody is known by what was sent. Send `Authorization: Bearer` with a token of POST /api/v1/login; programs of
    the operator send the one of the file admin-token in the data folder.
    """

    slug, title, status = "unauthorized", "Please log in", 401


class WrongLogin(Problem):
    """There is no such name, or the password is another. After several tries the address or the name has to wait."""

    slug, title, status = "wrong-login", "Name or password is wrong", 401


class Forbidden(Problem):
    """Whoever asks is known, and may not do that: it is for staff, say, or for households."""

    slug, title, status = "forbidden", "Not for you", 403


class CrossSite(Problem):
    """A page of another site asked with your cookie. Programs send `Authorization: Bearer` instead."""

    slug, title, status = "cross-site", "Asked from another site", 403


class DeviceOffline(Problem):
    """The device is not connected, so the command was not sent. Try again when it is back."""

    slug, title, status = "device-offline", "The device is offline", 409


class TooManyRequests(Problem):
    """More requests of this kind came from your address than a person sends. Retry-After says when to come back."""

    slug, title, status = "too-many-requests", "Too many requests", 429


class Failed(Problem):
    """A fault of ours. It stands in the log of the service with the time of your request."""

    slug, title, status = "internal-error", "Something broke here", 500


class NotReady(Problem):
    """The service runs, but a part that this answer needs is not there yet, or away. Retry after a few seconds."""

    slug, title, status = "not-ready", "Not ready", 503


class TooManyReaders(Problem):
    """All places for event streams are taken. Poll /api/v1/availability meanwhile: it costs little with its ETag."""

    slug, title, status = "too-many-readers", "No stream is free", 503


class DeviceSilent(Problem):
    """The command was sent, and the device did not answer in time. It may still have obeyed."""

    slug, title, status = "device-silent", "The device did not answer", 504


ALL: tuple[type[Problem], ...] = tuple(sorted(Problem.__subclasses__(), key=lambda kind: (kind.status, kind.slug)))


def responses(*kinds: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that can end in these problems."""
    described: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        before = described.get(kind.status, {}).get("description")
        described[kind.status] = {
            "description": f"{before}; or: {kind.title}" if before else kind.title,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}},
        }
    return described


def answer(request: Request, problem: Problem) -> Response:
    told = ProblemAnswer(
        type=problem.type,
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        instance=request.url.path,
        errors=problem.errors or None,
    )
    return JSONResponse(
        told.model_dump(exclude_none=True),
        problem.status,
        headers={"Cache-Control": "no-store"} | problem.headers,
        media_type=MEDIA_TYPE,
    )


def install(app: FastAPI) -> None:
    """Let every error that the application knows leave as a problem; the others are caught by api.edge."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return answer(request, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    mistakes = [
        Mistake(where=".".join(str(step) for step in said["loc"]), what=str(said["msg"])) for said in error.errors()
    ]
    return answer(request, Invalid("; ".join(f"{m.where}: {m.what}" for m in mistakes), errors=mistakes))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    for kind in (NotFound, MethodNotAllowed, TooLarge):
        if error.status_code == kind.status:
            return answer(request, kind(headers=headers))
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return answer(request, Invalid(error.detail, headers=headers))
    told = ProblemAnswer(type="about:blank", title=HTTPStatus(error.status_code).phrase, status=error.status_code)
    return JSONResponse(told.model_dump(exclude_none=True), error.status_code, headers=headers, media_type=MEDIA_TYPE)
