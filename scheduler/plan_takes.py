"""Floor 0 · What one request would take at one kind of plugs, where plugs, power and quotas have prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.plan import BUCKETS_PER_HOUR, POINT_FEN, SERVED, Plug, Request, full_w, may_begin, shortest
from scheduler.plan_room import Room

Row = NDArray[np.float64]
NEVER = -1e15
"""Gained where there is no place."""


class Take(NamedTuple):
    """A place at some plug of a kind, as buckets from the problem's first; `plugged` and `held` are its ends."""

    request: int
    kind: str
    at: int
    plugged: int
    held: int
    watts: tuple[int, ...]
    points: float

    @property
    def key(self) -> tuple[object, ...]:
        return self[:-1]


class Choice:
    """The places of one request at one kind of plugs: a row for each begin, a column for each end of charging."""

    def __init__(self, no: int, request: Request, kind: str, plugs: Sequence[Plug], room: Room) -> None:
        self.no, self.request, self.kind = no, request, kind
        site, problem = room.site, room.site.problem
        self.most, self.takes = full_w(request, plugs[0]), shortest(request, plugs[0])
        self.fen_kw = np.array(problem.tariff_fen_kwh) / BUCKETS_PER_HOUR / POINT_FEN
        self.low = max(request.earliest - site.first, 0)
        self.high = max(self.low, min(request.depart_by - site.first, site.buckets))
        least = max(1, min(plugs[0].min_w, self.most)) if request.flexible else self.most
        self.powered = np.array([left >= least for left in room.left_w])
        leaves = np.array(site.leaves(request)[self.low + 1 : self.high + 1], dtype=int)
        self.held_end = leaves
        self.plug_end = np.minimum(leaves + request.turnover, site.buckets)
        begins, ends = np.arange(self.low, self.high)[:, None], np.arange(self.low + 1, self.high + 1)[None, :]
        plugged = range(self.low, self.high) if request.flexible else site.comes(request)[self.low : self.high]
        self.plugged = np.array(plugged, dtype=int)
        """By row, the bucket in which the car is plugged in; a row is one in which power begins."""
        ok = site.window(request) & site.open_bits & room.quota_bits(request.compound)
        allowed = np.array([_until(ok, at) for at in plugged], dtype=int)[:, None]
        free = [max(_until(room.free[plug.id], at) for plug in plugs) for at in plugged]
        fits = (leaves <= allowed) & (leaves + request.turnover <= np.array(free, dtype=int)[:, None])
        fits &= ends - begins >= self.takes if request.flexible else ends - begins == self.takes
        by_day = [may_begin(problem, request, site.first + at) for at in plugged]
        fits &= np.array(by_day, dtype=bool)[:, None]
        if not request.flexible:
            dark = np.concatenate(([0], np.cumsum(~self.powered)))
            fits &= dark[ends] == dark[begins]
        self.points = np.where(fits, self._worth(site.first, self.plugged[:, None], ends, plugs, room), NEVER)
        self.some = bool(fits.any())

    def _worth(
        self, first: int, begins: NDArray[np.int_], ends: NDArray[np.int_], plugs: Sequence[Plug], room: Room
    ) -> Row:
        """What places are worth but for their energy, at the plug that was published where it is of these."""
        request, problem = self.request, room.site.problem
        fastest = min(shortest(request, alike[0]) for alike in room.site.fitting[request.id])
        points = request.weight * (SERVED - (ends - self.low - fastest)) + 0.0 * begins
        told = request.published
        if told is not None and told.connector in {plug.id for plug in plugs}:
            points = points + np.where(begins == told.first - first, request.margin * problem.heaviest, 0)
        return points

    def gains(self, plug: Row, kw: Row, quota: Row | None) -> Row:
        """What is gained, less what is paid."""
        energy = kw + self.fen_kw
        costs = self._flexible(energy) if self.request.flexible else self._steady(energy)
        paid = summed(plug)
        gained: Row = self.points - costs - paid[self.plug_end] + paid[self.plugged, None]
        if quota is not None:
            paid = summed(quota)
            gained += paid[self.plugged, None] - paid[self.held_end]
        return gained

    def take(self, begin: int, end: int, kw: Row) -> Take:
        """The place of a row and a column, with the cheapest buckets for its energy."""
        at, charged = int(self.plugged[begin]), self.low + end + 1
        watts = [0] * (self.low + begin - at) + [self.most] * (charged - self.low - begin)
        if self.request.flexible:
            watts, need = [0] * (charged - at), self.request.need_wh * BUCKETS_PER_HOUR
            energy = np.where(self.powered, kw + self.fen_kw, -NEVER)[at:charged]
            for bucket in np.argsort(energy, kind="stable")[: self.takes]:
                watts[bucket] = min(self.most, need)
                need -= watts[bucket]
        points = float(self.points[begin, end]) - float(self.fen_kw[at:charged] @ np.array(watts)) / 1_000
        plugged, held = int(self.plug_end[end]), int(self.held_end[end])
        return Take(self.no, self.kind, at, plugged, held, tuple(watts), points)

    def _steady(self, energy: Row) -> Row:
        total = summed(energy * self.most / 1_000)
        costs: Row = total[None, self.low + 1 : self.high + 1] - total[self.low : self.high, None]
        return costs

    def _flexible(self, energy: Row) -> Row:
        """By the cheapest buckets between each begin and each end; `cheap` has them in order, for each begin."""
        need = self.request.need_wh * BUCKETS_PER_HOUR
        amount = np.full(self.takes, self.most / 1_000)
        amount[need // self.most :] = need % self.most / 1_000
        each = np.where(self.powered, energy, -NEVER)[self.low : self.high]
        cheap = np.full((len(each), self.takes + 1), -NEVER)
        cheap[:, 0] = NEVER
        costs = np.zeros_like(self.points)
        for end, price in enumerate(each):
            rows = cheap[: end + 1]
            rows[:, 1:] = np.minimum(rows[:, 1:], np.maximum(rows[:, :-1], price))
            costs[: end + 1, end] = rows[:, 1:] @ amount
        return costs


def summed(row: Row) -> Row:
    return np.concatenate(([0.0], np.cumsum(row)))


def _until(bits: int, at: int) -> int:
    """The first bucket from there on whose bit is not set."""
    bits >>= at
    return at + (~bits & (bits + 1)).bit_length() - 1
