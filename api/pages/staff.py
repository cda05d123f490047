"""Floor 4 · The page of a device, for staff: how it is, and what became of its messages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from api.deps import Ctx, staff_at_a_browser
from api.pages.render import render
from api.pages.routes import Form, Say
from api.routes.staff import device as one_device
from api.schemas_staff import OneDevice

router = APIRouter(include_in_schema=False, dependencies=[Depends(staff_at_a_browser)])

OUTCOMES = ("received", "duplicate", "hole", "dropped", "lost", "skewed", "dead")


@router.get("/devices/{site}/{device}")
def device_page(ctx: Ctx, say: Say, form: Form, answer: Annotated[OneDevice, Depends(one_device)]) -> HTMLResponse:
    """The same facts as `/api/v1/devices/{site}/{device}`, read without a program."""
    name = f"{answer.site}/{answer.device}"
    body = render(
        "device.html",
        say=say, asked=form, kept={}, path=f"/devices/{name}", name=name, device=answer, outcomes=OUTCOMES,
        believed=ctx.board.believed,
    )  # fmt: skip
    return HTMLResponse(body, headers={"Cache-Control": "no-store", "Content-Language": say.tag})
