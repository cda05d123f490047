"""What most rows share: a place of some size, a load on it, and the count at the end."""

from __future__ import annotations

from msgspec.structs import replace

from ingest.assets import Inventory
from tools.faults.count import counted
from tools.faults.outcome import Asked, Outcome
from tools.faults.programs import Server, Street
from tools.faults.stage import Stage, place

PATIENCE_S = 120.0


def place_for(asked: Asked) -> Inventory:
    return place(2, 10) if asked.short else place()


def without(inventory: Inventory, site: str) -> Inventory:
    """The place that a street plays when the harness speaks for one site itself."""
    return replace(
        inventory,
        sites={name: one for name, one in inventory.sites.items() if name != site},
        devices={name: device for name, device in inventory.devices.items() if device.site != site},
    )


def loaded(stage: Stage, server: Server, asked: Asked, rate: int, short_rate: int) -> Street:
    """A street that says so many messages a second, and hears that they are safe."""
    street = stage.street(server, "--rate", str(short_rate if asked.short else rate), "--seed", str(asked.seed))
    street.wait_for_acks(PATIENCE_S, 0)
    return street


def end_of_load(outcome: Outcome, stage: Stage, server: Server, street: Street) -> None:
    figures = street.finish()
    server.finish()
    counted(outcome, stage, street, figures.resent)
    open_yet = figures.sent - figures.acked - figures.dropped
    outcome.figures["not_acked_at_the_end"] = open_yet
