"""Floor 3 · How facts leave: equal facts are equal bytes, named by an ETag."""

from __future__ import annotations

from hashlib import blake2b

from fastapi import Request, Response
from pydantic import BaseModel

HEADERS = {"Cache-Control": "max-age=1"}


def facts(request: Request, answer: BaseModel) -> Response:
    """The answer as JSON with its ETag, or 304 where the asker has it already."""
    body = answer.model_dump_json().encode()
    return tagged(request, body, "application/json")


def tagged(request: Request, body: bytes, media_type: str) -> Response:
    etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = HEADERS | {"ETag": etag}
    known = request.headers.get("if-none-match", "")
    if known.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)
