"""Floor 3 · The ledger in a database: SQLite in one process's folder, or PostgreSQL for several."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Connection,
    RowMapping,
    Select,
    and_,
    case,
    delete,
    exists,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from scheduler import ledger_records as records
from scheduler.accounts_sql import SqlAccounts
from scheduler.explain import Decision
from scheduler.ledger import (
    Adopted,
    Change,
    Claim,
    Household,
    Imbalance,
    Lease,
    Outgoing,
    OutgoingKind,
    OutgoingState,
)
from scheduler.ledger_inserts import insert_into
from scheduler.ledger_rows import turn_of
from scheduler.ledger_tables import (
    claim,
    cut,
    household_use,
    lease,
    outgoing,
    quota_use,
    site_bucket,
    turn,
)
from scheduler.ledger_transactions import Transactions
from scheduler.ledger_writes import commit, cut_off, made_with
from scheduler.postings import imbalance
from scheduler.rules import RuleSet
from scheduler.standing import Delivery, NoShow
from scheduler.turns import LIVE, State, Turn

LEADER = "scheduler"
CLOCK_MS = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
}
"""The database's own clock, in milliseconds since 1970."""

ONE_SNAPSHOT = {"sqlite": "SERIALIZABLE", "postgresql": "REPEATABLE READ"}
OUTGOING = select(*(outgoing.c[name] for name in Outgoing.__struct_fields__)).order_by(outgoing.c.no)

Answer = TypeVar("Answer")


MOST_KEPT = 10_000
"""Turns in memory that were read before."""


class SqlLedger:
    """Keeps to the port `Ledger`. The tables must be there: `ledger_migrations.migrate`."""

    def __init__(self, engine: Engine) -> None:
        self._db = Transactions(engine)
        self.accounts = SqlAccounts(self._db)
        self._adopted: dict[tuple[str, int], Adopted] = {}
        """Rules by site and version, which never change."""
        self._read_before: dict[tuple[str, int], Turn] = {}
        """Turns by id and rev, which never change either."""
        self._clock = literal_column(CLOCK_MS[self._db.dialect], BigInteger)

    def commit(self, changes: Sequence[Change], now_ms: int) -> list[Turn]:
        return self._db.write(lambda connection: commit(connection, changes, now_ms))

    def turn(self, turn_id: str) -> Turn | None:
        return next(iter(self._turns(select(turn).where(turn.c.id == turn_id))), None)

    def by_key(self, household: str, key: str) -> Turn | None:
        return next(iter(self._turns(made_with(household, key))), None)

    def turns(
        self, *, site: str | None = None, household: str | None = None, states: Collection[State] | None = None
    ) -> list[Turn]:
        asked = select(turn).order_by(turn.c.requested_ms, turn.c.id)
        if site is not None:
            asked = asked.where(turn.c.site == site)
        if household is not None:
            asked = asked.where(turn.c.household == household)
        if states is not None:
            asked = asked.where(turn.c.state.in_(states))
        return self._turns(asked)

    def due(self, now_ms: int, limit: int = 100) -> list[Turn]:
        over = select(turn).where(turn.c.state.in_(LIVE), turn.c.due_ms <= now_ms)
        return self._turns(over.order_by(turn.c.due_ms, turn.c.id).limit(limit))

    def claims(self, site: str, buckets: range) -> list[Claim]:
        asked = select(claim.c.connector, claim.c.bucket, claim.c.turn)
        asked = asked.where(claim.c.site == site, claim.c.bucket.between(buckets.start, buckets.stop - 1))
        asked = asked.order_by(claim.c.connector, claim.c.bucket)
        return [Claim(*row) for row in self._db.read(lambda connection: connection.execute(asked).all())]

    def reserved_w(self, site: str, buckets: range) -> list[int]:
        asked = select(site_bucket.c.bucket, site_bucket.c.reserved_w).where(site_bucket.c.site == site)
        return self._by_bucket(asked.where(site_bucket.c.bucket.between(buckets.start, buckets.stop - 1)), buckets)

    def used(self, site: str, compound: str, buckets: range) -> list[int]:
        asked = select(quota_use.c.bucket, quota_use.c.used)
        asked = asked.where(quota_use.c.site == site, quota_use.c.compound == compound)
        return self._by_bucket(asked.where(quota_use.c.bucket.between(buckets.start, buckets.stop - 1)), buckets)

    def outgoing(
        self, states: Collection[OutgoingState], limit: int = 100, kind: OutgoingKind | None = None
    ) -> list[Outgoing]:
        asked = OUTGOING.where(outgoing.c.state.in_(states)).limit(limit)
        if kind is not None:
            asked = asked.where(outgoing.c.kind == kind)
        return self._db.read(lambda connection: _outgoing(connection, asked))

    def sending(self, outgoing_id: str, epoch: int) -> bool:
        leads = exists().where(lease.c.name == LEADER, lease.c.epoch == epoch, lease.c.until_ms > self._clock)
        taken = update(outgoing).where(outgoing.c.id == outgoing_id, outgoing.c.state == "pending", leads)
        taken = taken.values(state="sending", epoch=epoch)
        return bool(self._db.write(lambda connection: connection.execute(taken).rowcount))

    def sent(self, outgoing_ids: Collection[str]) -> None:
        left = update(outgoing).where(outgoing.c.id.in_(outgoing_ids)).values(state="sent")
        self._db.write(lambda connection: connection.execute(left))

    def take_back(self, outgoing_id: str, epoch: int) -> None:
        ours = and_(outgoing.c.id == outgoing_id, outgoing.c.state == "sending", outgoing.c.epoch == epoch)
        self._db.write(
            lambda connection: connection.execute(update(outgoing).where(ours).values(state="pending", epoch=0))
        )

    def give_up_sending(self, epoch: int, kind: OutgoingKind | None = None) -> list[Outgoing]:
        left_over = and_(outgoing.c.state == "sending", outgoing.c.epoch <= epoch)
        if kind is not None:
            left_over = and_(left_over, outgoing.c.kind == kind)

        def give_up(connection: Connection) -> list[Outgoing]:
            found = _outgoing(connection, OUTGOING.where(left_over).with_for_update())
            ids = [item.id for item in found]
            connection.execute(update(outgoing).where(outgoing.c.id.in_(ids)).values(state="unknown"))
            return found

        return self._db.write(give_up)

    def lead(self, holder: str, for_s: float) -> Lease:
        until_ms = self._clock + round(for_s * 1_000)
        taken = insert_into(self._db.dialect, lease).values(name=LEADER, holder=holder, epoch=1, until_ms=until_ms)
        same = lease.c.holder == holder
        taken = taken.on_conflict_do_update(
            index_elements=["name"],
            set_={"holder": holder, "until_ms": until_ms, "epoch": lease.c.epoch + case((same, 0), else_=1)},
            where=or_(same, lease.c.until_ms <= self._clock),
        )
        asked = select(lease.c.holder, lease.c.epoch, lease.c.until_ms).where(lease.c.name == LEADER)

        def lead(connection: Connection) -> Lease:
            connection.execute(taken)
            return Lease(*connection.execute(asked).one())

        return self._db.write(lead)

    def adopt(self, rules: RuleSet, after: int, by: str, now_ms: int) -> Adopted:
        return self._db.write(lambda connection: records.adopt(connection, rules, after, by, now_ms))

    def rules(self, site: str, version: int | None = None) -> Adopted | None:
        if version is not None and (known := self._adopted.get((site, version))) is not None:
            return known
        found = self._db.read(lambda connection: records.rules_of(connection, site, version))
        if found is not None:
            self._adopted[site, found.version] = found
        return found

    def versions(self) -> dict[str, int]:
        return self._db.read(records.versions)

    def register(self, household: Household) -> None:
        try:
            self._db.write(lambda connection: records.register(connection, household))
        except IntegrityError:  # somebody moved in between the look and the write
            self._db.write(lambda connection: records.register(connection, household))

    def household(self, household_id: str) -> Household | None:
        return self._db.read(lambda connection: records.household_of(connection, household_id))

    def pool(self, site: str, since_ms: int) -> dict[str, int]:
        return self._db.read(lambda connection: records.pool(connection, site, since_ms))

    def deliveries(self, households: Collection[str], since_ms: int) -> list[Delivery]:
        return self._db.read(lambda connection: records.deliveries(connection, households, since_ms))

    def no_shows(self, households: Collection[str], since_ms: int) -> list[NoShow]:
        return self._db.read(lambda connection: records.no_shows(connection, households, since_ms))

    def decide(self, decisions: Mapping[str, Decision]) -> None:
        self._db.write(lambda connection: records.decide(connection, decisions))

    def decisions(self, turn_ids: Collection[str]) -> dict[str, Decision]:
        return self._db.read(lambda connection: records.decisions(connection, turn_ids))

    def cut(self, site: str, why: str, now_ms: int, outgoing: Collection[Outgoing] = ()) -> None:
        self._db.write(lambda connection: cut_off(connection, site, why, now_ms, outgoing))

    def reset(self, site: str) -> bool:
        gone = delete(cut).where(cut.c.site == site)
        return bool(self._db.write(lambda connection: connection.execute(gone).rowcount))

    def cuts(self) -> dict[str, str]:
        return self._db.read(lambda connection: {row.site: row.why for row in connection.execute(select(cut))})

    def imbalance(self) -> Imbalance:
        asked = (
            select(claim.c.connector, claim.c.bucket, claim.c.turn),
            select(household_use),
            select(site_bucket),
            select(quota_use),
        )

        def read(connection: Connection) -> tuple[Sequence[RowMapping], list[Any]]:
            turns = connection.execute(select(turn)).mappings().all()
            return turns, [connection.execute(one).all() for one in asked]

        # Worked out after the transaction, which must not stand idle.
        turns, books = self._db.read(read, isolation_level=ONE_SNAPSHOT[self._db.dialect])
        claims, live, power, quota = books
        return imbalance(
            turns=[turn_of(row) for row in turns],
            claims={Claim(*row) for row in claims},
            counts={(tuple(row[:-2]), row[-2]): row[-1] for row in (*power, *quota)},
            live={row.household: row.live for row in live},
        )

    def close(self) -> None:
        self._db.close()

    def _turns(self, asked: Select[Any]) -> list[Turn]:
        """Those that were read before and stand at the same `rev` are not read again."""
        which, before = asked.with_only_columns(turn.c.id, turn.c.rev), self._read_before

        def read(connection: Connection) -> list[Turn]:
            there = [(row[0], row[1]) for row in connection.execute(which)]
            known = {at: before[at] for at in there if at in before}
            unread = [turn_id for turn_id, rev in there if (turn_id, rev) not in known]
            if len(unread) > records.MOST_BY_NAME:
                return [turn_of(row) for row in connection.execute(asked).mappings()]
            named = asked.where(turn.c.id.in_(unread))
            new = {row["id"]: turn_of(row) for row in connection.execute(named).mappings()} if unread else {}
            if len(self._read_before) > MOST_KEPT:
                self._read_before = {}
            self._read_before |= {(one.id, one.rev): one for one in new.values()}
            found = (known.get(at) or new.get(at[0]) for at in there)
            return [one for one in found if one is not None]  # one that changed between the two is no longer asked for

        return self._db.read(read)

    def _by_bucket(self, asked: Select[Any], buckets: range) -> list[int]:
        found = self._db.read(lambda connection: {row[0]: row[1] for row in connection.execute(asked)})
        return [found.get(bucket, 0) for bucket in buckets]


def _outgoing(connection: Connection, asked: Select[Any]) -> list[Outgoing]:
    return [Outgoing(**row) for row in connection.execute(asked).mappings()]
