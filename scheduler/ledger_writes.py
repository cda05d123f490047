"""Floor 3 · One change of the ledger in SQL. Whoever calls it owns the transaction, and rolls it back on any error.

Every guard is a statement that the database itself decides: a compare-and-swap on `rev`, a primary key, or
`UPDATE … WHERE used + more <= limit`. Rows are touched in one order, so that two changes seldom wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import asdict, replace
from sqlalchemy import Connection, Select, Table, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from scheduler.accounts_tables import account
from scheduler.ledger import LIVE_TURNS, Change, Claim, Known, Moved, Outgoing, OverLimit, Taken, TooMany
from scheduler.ledger_inserts import add_missing, add_new
from scheduler.ledger_records import stay
from scheduler.ledger_rows import row_of, turn_of
from scheduler.ledger_tables import (
    audit,
    claim,
    cut,
    delivery,
    household_use,
    outgoing,
    quota_use,
    request_key,
    site_bucket,
    turn,
)
from scheduler.postings import Entry, given_back, postings, runs
from scheduler.turns import Turn, held, is_live

STEP = update(turn).where(turn.c.id == bindparam("step_of"), turn.c.rev == bindparam("step_from"))
"""Made once: with all its columns it is slow to make."""


def commit(connection: Connection, changes: Sequence[Change], now_ms: int) -> list[Turn]:
    """See `Ledger.commit`."""
    stay(connection, (change.after.household for change in changes if change.asked))
    _keep_keys(connection, changes)
    kept = {change.after.id: _step(connection, change) for change in in_order(changes)}
    every = [*changes, *_give_back(connection, changes, now_ms)]
    books = postings(every)
    _count_live(connection, books.live)
    free(connection, books.freed)
    take(connection, books.claimed)
    for table, entries in ((site_bucket, books.power), (quota_use, books.quota)):
        for entry in entries:
            _count(connection, table, entry)
    _leave(connection, every, now_ms)
    return [kept[change.after.id] for change in changes]


def made_with(household: str, key: str) -> Select[Any]:
    """The turn that a household's request with this key made."""
    made = select(turn).join(request_key, request_key.c.turn == turn.c.id)
    return made.where(request_key.c.household == household, request_key.c.key == key)


def in_order(changes: Iterable[Change]) -> list[Change]:
    """Those that end first: their vehicles are free for those that begin."""
    return sorted(changes, key=lambda change: (is_live(change.after), change.after.id))


def free(connection: Connection, claims: Sequence[Claim]) -> None:
    for turn_id, connector, first, last in runs(claims):
        connection.execute(
            delete(claim).where(
                claim.c.connector == connector, claim.c.bucket.between(first, last), claim.c.turn == turn_id
            )
        )


def take(connection: Connection, claims: Sequence[Claim]) -> None:
    """Raises Taken where a bucket is another's."""
    for turn_id, connector, first, last in runs(claims):
        rows = [
            {"connector": connector, "bucket": bucket, "turn": turn_id, "site": connector.partition("/")[0]}
            for bucket in range(first, last + 1)
        ]
        there = select(claim.c.connector, claim.c.bucket, claim.c.turn).order_by(claim.c.bucket)
        there = there.where(claim.c.connector == connector, claim.c.bucket.between(first, last))
        found: list[Claim] = []
        while len(found) < len(rows):  # a claim that stood in the way may be gone by the time that we look whose it is
            add_missing(connection, claim, rows)
            found = [Claim(*row) for row in connection.execute(there)]
            if other := next((one for one in found if one.turn != turn_id), None):
                raise Taken(other)


def _keep_keys(connection: Connection, changes: Sequence[Change]) -> None:
    for change in changes:
        if change.key is None:
            continue
        row = {"household": change.after.household or "", "key": change.key, "turn": change.after.id}
        if not add_new(connection, request_key, row):
            made = made_with(row["household"], change.key)
            raise Known(turn_of(connection.execute(made).mappings().one()))


def _step(connection: Connection, change: Change) -> Turn:
    """Write the turn if it is as it was read, with its next `rev`."""
    kept = replace(change.after, rev=change.before.rev + 1 if change.before else 1)
    row = row_of(kept)
    try:
        if change.before is None:
            written = add_new(connection, turn, row)
        else:
            unmoved = {"step_of": change.after.id, "step_from": change.before.rev}
            written = bool(connection.execute(STEP, row | unmoved).rowcount)
    except IntegrityError as refused:
        raise TooMany("vehicle", change.after.vehicle or "") from refused
    if not written:
        now = connection.execute(select(turn).where(turn.c.id == change.after.id)).mappings().first()
        raise Moved(change.after.id, turn_of(now) if now else None)
    return kept


def _give_back(connection: Connection, changes: Sequence[Change], now_ms: int) -> list[Change]:
    """End the offers whose time is over, at sites where these changes claim something."""
    sites = sorted({change.after.site for change in changes if held(change.after) is not None})
    if not sites:
        return []
    over = (
        select(turn)
        .where(turn.c.site.in_(sites), turn.c.state == "offered", turn.c.due_ms <= now_ms)
        .where(turn.c.id.not_in([change.after.id for change in changes]))
        .order_by(turn.c.id)
        .with_for_update(skip_locked=True)  # whoever has it is changing it now: two who wait for each other's are stuck
    )
    found = [given_back(turn_of(row), now_ms) for row in connection.execute(over).mappings()]
    for change in in_order(found):
        _step(connection, change)
    return found


def _count_live(connection: Connection, live: Sequence[tuple[str, int]]) -> None:
    for household, more in live:
        add_new(connection, household_use, {"household": household, "live": 0})
        counted = update(household_use).where(household_use.c.household == household)
        if more > 0:
            counted = counted.where(household_use.c.live + more <= LIVE_TURNS)
        if not connection.execute(counted.values(live=household_use.c.live + more)).rowcount:
            raise TooMany("household", household)


def _count(connection: Connection, table: Table, entry: Entry) -> None:
    """Raises OverLimit where a bucket does not allow so much more."""
    names = [column.name for column in table.primary_key][:-1]
    whose = dict(zip(names, entry.whose, strict=True))
    count = table.c[table.columns.keys()[-1]]
    if entry.more > 0:
        buckets = range(entry.first, entry.first + entry.buckets)
        add_missing(connection, table, [{**whose, "bucket": bucket, count.name: 0} for bucket in buckets])
    wanted = [table.c[name] == value for name, value in whose.items()]
    counted = update(table).where(*wanted, table.c.bucket.between(entry.first, entry.first + entry.buckets - 1))
    if entry.limit is not None:
        counted = counted.where(count + entry.more <= entry.limit)
    if connection.execute(counted.values({count: count + entry.more})).rowcount != entry.buckets:
        raise OverLimit("site_w" if table is site_bucket else "quota", entry.whose[0])


def _leave(connection: Connection, changes: Sequence[Change], now_ms: int) -> None:
    leaving = [item for change in changes for item in change.outgoing]
    given = [asdict(change.delivery) | {"turn": change.after.id} for change in changes if change.delivery]
    if given:
        connection.execute(insert(delivery), given)
    if sent := [change.sent for change in changes if change.sent is not None]:
        connection.execute(update(outgoing).where(outgoing.c.id.in_(sent)).values(state="sent"))
    send_out(connection, leaving, now_ms)
    steps = [
        {
            "at_ms": now_ms, "by": change.by, "turn": change.after.id,
            "before": change.before and change.before.state, "after": change.after.state,
        }
        for change in changes
    ]  # fmt: skip
    connection.execute(insert(audit), steps)


def send_out(connection: Connection, leaving: Iterable[Outgoing], now_ms: int) -> None:
    """What is there under its id already is not written again. With a notice goes a mail to whoever has an address."""
    notices = list(leaving)
    rows = [
        {
            "id": item.id, "kind": item.kind, "to": item.to, "turn": item.turn, "body": item.body,
            "state": "pending", "epoch": 0, "at_ms": now_ms,
        }
        for item in [*notices, *_mails(connection, notices)]
    ]  # fmt: skip
    if rows:
        add_missing(connection, outgoing, rows, by="id")


def _mails(connection: Connection, notices: Sequence[Outgoing]) -> list[Outgoing]:
    households = {item.to for item in notices}
    if not households:
        return []
    reached = select(account.c.household, account.c.name).order_by(account.c.name)
    reached = reached.where(account.c.household.in_(households), account.c.mail.is_not(None))
    by_mail = [tuple(row) for row in connection.execute(reached)]
    return [
        Outgoing(id=f"{item.id}:mail:{name}", kind="mail", to=name, turn=item.turn, body=item.body)
        for item in notices
        for household, name in by_mail
        if household == item.to
    ]


def cut_off(connection: Connection, site: str, why: str, now_ms: int, leaving: Iterable[Outgoing]) -> None:
    if add_new(connection, cut, {"site": site, "why": why, "at_ms": now_ms}):
        send_out(connection, leaving, now_ms)
