"""A site whose plugs do what a dispatcher tells them, in a line."""

from __future__ import annotations

from ingest.messages import CommandResult, SetLimit
from scheduler.buckets import Place, bucket_at
from scheduler.dispatch import Dispatch
from tests.rounds import SITE, Neighbourhood

ONE, TWO, THREE = (f"{SITE}/pile-0{no}/1" for no in (1, 2, 3))


class Steered:
    """A site that may draw 7 kW, with three plugs that do what they are told, as long as they are told anything."""

    def __init__(self, limit_kw=7.0):
        self.street = Neighbourhood(piles=3, limit_kw=limit_kw)
        self.leads, self.answers, self.deaf = True, True, set()
        self.commands, self.others, self.limit_kw, self.silent = [], [], {}, ()
        self.lead()

    def lead(self):
        refused = self.street.arrivals.refused
        self.dispatch = Dispatch(self.street.desk, self.street.ground, self.send, lambda: 1.0, refused)

    def send(self, device, command):
        if device in self.deaf:
            return
        if self.leads and not isinstance(command, SetLimit):
            self.others.append(command)
            if self.answers:
                self.dispatch.answered(device, CommandResult(v=1, id=command.id, result="accepted"))
        elif self.leads:
            self.commands.append(command)
            if self.answers:
                self.limit_kw[f"{device}/{command.connector}"] = command.limit_kw
                self.dispatch.answered(device, CommandResult(v=1, id=command.id, result="accepted"))

    def later(self, minutes=1, epoch=1):
        """So many minutes, and the round that follows them, with a second of the wall after each look."""
        self.street.later(minutes, *self.silent)
        self.street.ground.look(self.street.now_ms)
        for _ in range(3):
            self.street.mono_s += 1.0
            self.dispatch.round(epoch, self.street.now_ms, self.street.mono_s)

    def codes(self):
        return [(condition.code, condition.evidence) for condition in self.dispatch.conditions]


def two_in_turn(site):
    """Two that are plugged, of whom the second waits until the power of the first is its own."""
    plugs = [f"{SITE}/pile-0{no}/1" for no in (1, 2)]
    for no, plug in enumerate(plugs):
        place = Place(plug, bucket_at(site.street.now_ms), ((7_000, 0), (0, 7_000))[no])
        turn = site.street.asks(f"h{no + 1}", kwh=1.75, flexible=True)
        site.street.desk.plan(turn, place, site.street.now_ms)
        site.street.desk.offer(turn, place, site.street.now_ms)
        site.street.desk.accept(turn, site.street.now_ms)
        site.street.comes(turn)


def said(site, kind):
    return [command for command in site.others if isinstance(command, kind)]


def promised(site, **wish):
    turn = site.street.asks("h1", **{"earliest_ms": site.street.now_ms + 900_000, **wish})
    site.street.later(1)
    site.street.desk.accept(turn, site.street.now_ms)
    return turn
