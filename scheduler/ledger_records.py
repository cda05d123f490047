"""Floor 3 · Rules, households and deliveries in SQL. Whoever calls it owns the transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec import json
from msgspec.structs import asdict
from sqlalchemy import Connection, RowMapping, and_, bindparam, func, select

from scheduler import ledger_tables as tables
from scheduler.explain import Decision
from scheduler.ledger import Adopted, DwellingTaken, Household, Superseded, UnknownHousehold
from scheduler.ledger_inserts import add_new, insert_into
from scheduler.rules import RuleSet
from scheduler.standing import Delivery, NoShow

MOST_BY_NAME = 500
"""Turns that one statement names."""
STAYS = select(tables.household.c.id).where(tables.household.c.id == bindparam("of"))
STAYS = STAYS.with_for_update(read=True, key_share=True)
_decision, _rules = json.Decoder(Decision), json.Decoder(RuleSet)


def adopt(connection: Connection, rules: RuleSet, after: int, by: str, now_ms: int) -> Adopted:
    newest = rules_of(connection, rules.site, None)
    version = newest.version if newest else 0
    row = {
        "site": rules.site, "version": after + 1, "rules": json.encode(rules).decode(), "at_ms": now_ms, "by": by,
    }  # fmt: skip
    if version != after or not add_new(connection, tables.rules, row):
        newest = rules_of(connection, rules.site, None)
        raise Superseded(rules.site, newest.version if newest else 0)
    return Adopted(rules=rules, version=after + 1, at_ms=now_ms, by=by)


def rules_of(connection: Connection, site: str, version: int | None) -> Adopted | None:
    asked = select(tables.rules).where(tables.rules.c.site == site).order_by(tables.rules.c.version.desc()).limit(1)
    if version is not None:
        asked = asked.where(tables.rules.c.version == version)
    row = connection.execute(asked).mappings().first()
    return None if row is None else _adopted(row)


def versions(connection: Connection) -> dict[str, int]:
    newest = select(tables.rules.c.site, func.max(tables.rules.c.version)).group_by(tables.rules.c.site)
    return {row.site: row[1] for row in connection.execute(newest)}


def register(connection: Connection, household: Household) -> None:
    lives = tables.household.c
    same = and_(lives.compound == household.compound, lives.dwelling == household.dwelling)
    adding = insert_into(connection.dialect.name, tables.household).values(asdict(household))
    adding = adding.on_conflict_do_update(
        index_elements=["id"], set_={name: getattr(household, name) for name in Household.__struct_fields__[1:]}
    )
    other = connection.execute(select(lives.id).where(same, lives.id != household.id)).scalar()
    if other is not None:
        raise DwellingTaken(other)
    connection.execute(adding)


def stay(connection: Connection, households: Iterable[str | None]) -> None:
    """None of them is forgotten before this transaction ends. Raises UnknownHousehold where one is already."""
    for household in sorted({of or "" for of in households}):
        if connection.execute(STAYS, {"of": household}).first() is None:
            raise UnknownHousehold(household)


def household_of(connection: Connection, household_id: str) -> Household | None:
    row = connection.execute(select(tables.household).where(tables.household.c.id == household_id)).mappings().first()
    return None if row is None else Household(**row)


def pool(connection: Connection, site: str, since_ms: int) -> dict[str, int]:
    asks = tables.turn.c
    asked = (
        select(asks.household, func.min(asks.requested_ms).label("first_ms"))
        .where(asks.site == site, asks.household.is_not(None), asks.state != "rejected")
        .group_by(asks.household)
        .having(func.max(asks.requested_ms) >= since_ms)
    )
    return {row.household: row.first_ms for row in connection.execute(asked)}


def deliveries(connection: Connection, households: Collection[str], since_ms: int) -> list[Delivery]:
    given = tables.delivery.c
    asked = select(*(given[name] for name in Delivery.__struct_fields__))
    asked = asked.where(given.household.in_(households), given.unplugged_ms >= since_ms)
    rows = connection.execute(asked.order_by(given.unplugged_ms, given.household)).mappings()
    return [Delivery(**row) for row in rows]


def no_shows(connection: Connection, households: Collection[str], since_ms: int) -> list[NoShow]:
    asks = tables.turn.c
    asked = select(asks.household, asks.ended_ms).where(asks.state == "no_show", asks.household.in_(households))
    asked = asked.where(asks.ended_ms >= since_ms).order_by(asks.ended_ms, asks.household)
    return [NoShow(row.household, row.ended_ms) for row in connection.execute(asked)]


def decide(connection: Connection, decisions: Mapping[str, Decision]) -> None:
    if not decisions:
        return
    adding = insert_into(connection.dialect.name, tables.decision)
    adding = adding.on_conflict_do_update(index_elements=["turn"], set_={"decision": adding.excluded.decision})
    rows = [{"turn": turn, "decision": json.encode(decisions[turn]).decode()} for turn in sorted(decisions)]
    connection.execute(adding, rows)


def decisions(connection: Connection, turn_ids: Collection[str]) -> dict[str, Decision]:
    found: dict[str, Decision] = {}
    asked = list(turn_ids)
    made = select(tables.decision.c.turn, tables.decision.c.decision)
    for first in range(0, len(asked), MOST_BY_NAME):
        named = made.where(tables.decision.c.turn.in_(asked[first : first + MOST_BY_NAME]))
        found |= {row.turn: _decision.decode(row.decision) for row in connection.execute(named)}
    return found


def _adopted(row: RowMapping) -> Adopted:
    rules = _rules.decode(row["rules"])
    return Adopted(rules=rules, version=row["version"], at_ms=row["at_ms"], by=row["by"])
