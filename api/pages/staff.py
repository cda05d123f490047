"""Floor 4 · Pages of the devices, for staff: how they are, and what became of their messages."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from api.deps import Ctx, site_of, staff_at_a_browser
from api.pages.render import render
from api.pages.routes import Form, Say
from api.pages.words import Speaker
from api.routes.staff import device as one_device
from api.routes.staff import devices as all_devices
from api.schemas_staff import DeviceAnswer, Devices, OneDevice
from ingest.accounts import OUTCOMES

router = APIRouter(include_in_schema=False, dependencies=[Depends(staff_at_a_browser)])


@router.get("/devices")
def devices_page(ctx: Ctx, say: Say, form: Form, answer: Annotated[Devices, Depends(all_devices)]) -> HTMLResponse:
    """The same facts as `/api/v1/devices`, each device leading to its page."""
    devices = sorted(answer.items, key=_needs_no_look)
    online = Counter(device.online for device in devices)
    said = [device.messages for device in devices if device.messages]
    body = render(
        "devices.html",
        say=say, asked=form, kept={}, path="/devices", spool=answer.spool, believed=ctx.board.believed,
        devices=devices, look=sum(not _needs_no_look(device) for device in devices),
        online=online[True], offline=online[False], never=online[None],
        outcomes=OUTCOMES, together={name: sum(getattr(counts, name) for counts in said) for name in OUTCOMES},
    )  # fmt: skip
    return HTMLResponse(body, headers=_headers(say))


@router.get("/devices/{site}/{device}")
def device_page(ctx: Ctx, say: Say, form: Form, answer: Annotated[OneDevice, Depends(one_device)]) -> HTMLResponse:
    """The same facts as `/api/v1/devices/{site}/{device}`, read without a program."""
    name = f"{answer.site}/{answer.device}"
    body = render(
        "device.html",
        say=say, asked=form, kept={}, path=f"/devices/{name}", name=name, device=answer, outcomes=OUTCOMES,
        believed=ctx.board.believed, site=site_of(ctx, answer.site).name.in_language(say.language),
    )  # fmt: skip
    return HTMLResponse(body, headers=_headers(say))


def _needs_no_look(device: DeviceAnswer) -> bool:
    """Nothing holds at it that is more than information, and no message of it is lost."""
    return all(held.severity == "info" for held in device.conditions) and not (device.messages and device.messages.lost)


def _headers(say: Speaker) -> dict[str, str]:
    return {"Cache-Control": "no-store", "Content-Language": say.tag}
