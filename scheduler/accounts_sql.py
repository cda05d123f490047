"""Floor 3 · Accounts in the ledger's database, SQLite or PostgreSQL."""

from __future__ import annotations

import secrets
from typing import Any

from msgspec import json
from msgspec.structs import asdict
from sqlalchemy import Connection, Table, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from ingest.assets import ConnectorType
from scheduler.accounts import Account, AccountTaken, HasTurns, Login, Review, Told, Vehicle, Watched
from scheduler.accounts_tables import account, login, review, vehicle, watch
from scheduler.ledger import Outgoing
from scheduler.ledger_inserts import insert_into
from scheduler.ledger_records import stay
from scheduler.ledger_tables import audit, delivery, household, household_use, outgoing, request_key, turn
from scheduler.ledger_transactions import Transactions
from scheduler.ledger_writes import send_out
from scheduler.turns import LIVE

GONE = "gone-"
"""Before what stands in place of a household that is no more."""
_types = json.Decoder(tuple[ConnectorType, ...])


class SqlAccounts:
    """Keeps to the port `Accounts`, in the database of the ledger that `db` is of."""

    def __init__(self, db: Transactions) -> None:
        self._db = db

    def add(self, new: Account) -> None:
        try:
            self._db.write(lambda connection: connection.execute(account.insert(), asdict(new)))
        except IntegrityError:
            raise AccountTaken(f"there is an account {new.name}") from None

    def change(self, changed: Account, was: Account | None = None) -> None:
        before = {} if was is None else asdict(was)
        news = {name: value for name, value in asdict(changed).items() if name not in before or value != before[name]}
        if not news:
            return

        def keep(connection: Connection) -> None:
            old = connection.execute(select(account.c.password).where(account.c.name == changed.name)).scalar()
            connection.execute(update(account).where(account.c.name == changed.name), news)
            if "password" in news and old != changed.password:
                connection.execute(delete(login).where(login.c.account == changed.name))

        self._db.write(keep)

    def account(self, name: str) -> Account | None:
        found = self._rows(select(account).where(account.c.name == name))
        return Account(**found[0]) if found else None

    def accounts(self) -> list[Account]:
        return [Account(**row) for row in self._rows(select(account).order_by(account.c.name))]

    def log_in(self, made: Login, password: str, wall_ms: int) -> bool:
        now = select(account.c.password).where(account.c.name == made.account).with_for_update(read=True)

        def keep(connection: Connection) -> bool:
            connection.execute(delete(login).where(login.c.until_ms <= wall_ms))
            is_still = connection.execute(now).scalar() == password
            if is_still:
                connection.execute(login.insert(), asdict(made))
            return is_still

        return self._db.write(keep)

    def log_out(self, token_hash: str) -> None:
        self._db.write(lambda connection: connection.execute(delete(login).where(login.c.token_hash == token_hash)))

    def logged_in(self, token_hash: str, wall_ms: int) -> Account | None:
        whose = select(account).join(login, login.c.account == account.c.name)
        found = self._rows(whose.where(login.c.token_hash == token_hash, login.c.until_ms > wall_ms))
        return Account(**found[0]) if found else None

    def vehicles(self, of: str) -> list[Vehicle]:
        rows = self._rows(select(vehicle).where(vehicle.c.household == of).order_by(vehicle.c.id))
        return [Vehicle(**row | {"connector_types": _types.decode(row["connector_types"])}) for row in rows]

    def keep_vehicle(self, kept: Vehicle) -> None:
        row = asdict(kept) | {"connector_types": json.encode(kept.connector_types).decode()}
        self._upsert(vehicle, row, kept.household)

    def drop_vehicle(self, of: str, name: str) -> bool:
        gone = delete(vehicle).where(vehicle.c.household == of, vehicle.c.id == name)
        return bool(self._db.write(lambda connection: connection.execute(gone).rowcount))

    def notices(self, of: str, limit: int = 100) -> list[Told]:
        asked = select(outgoing.c.id, outgoing.c.body, outgoing.c.at_ms, outgoing.c.state)
        asked = asked.where(outgoing.c.to == of, outgoing.c.kind == "notice").order_by(outgoing.c.no.desc())
        return [Told(**row) for row in self._rows(asked.limit(limit))]

    def review(self, kept: Review, telling: Outgoing | None = None) -> None:
        def keep(connection: Connection) -> None:
            stay(connection, [kept.household])
            self._put(connection, review, asdict(kept))
            send_out(connection, [telling] if telling else [], kept.answered_ms or kept.at_ms)

        self._db.write(keep)

    def reviews(self, *, household: str | None = None, unanswered: bool = False) -> list[Review]:
        asked = select(review).order_by(review.c.at_ms, review.c.id)
        if household is not None:
            asked = asked.where(review.c.household == household)
        if unanswered:
            asked = asked.where(review.c.answer.is_(None))
        return [Review(**row) for row in self._rows(asked)]

    def watch(self, kept: Watched) -> None:
        self._upsert(watch, asdict(kept), kept.household)

    def watches(self, household: str | None = None) -> list[Watched]:
        asked = select(watch).order_by(watch.c.at_ms, watch.c.id)
        if household is not None:
            asked = asked.where(watch.c.household == household)
        return [Watched(**row) for row in self._rows(asked)]

    def unwatch(self, name: str) -> bool:
        return bool(self._db.write(lambda connection: connection.execute(_no_watch(name)).rowcount))

    def tell_free(self, watched: Watched, connector: str, now_ms: int) -> None:
        body = json.encode({"what": "free", "said": {"place": connector}}).decode()
        notice = Outgoing(id=f"{watched.id}:free", kind="notice", to=watched.household, body=body)

        def tell(connection: Connection) -> None:
            if connection.execute(_no_watch(watched.id)).rowcount:
                send_out(connection, [notice], now_ms)

        self._db.write(tell)

    def remove(self, name: str) -> None:
        def forget(connection: Connection) -> None:
            of = connection.execute(select(account.c.household).where(account.c.name == name)).scalar()
            # First: of two who go together the second counts when the first is gone, and nothing new is kept meanwhile.
            connection.execute(select(household.c.id).where(household.c.id == of).with_for_update())
            gone = connection.execute(delete(account).where(account.c.name == name))  # early: a login may just be made
            left = select(func.count()).select_from(account).where(account.c.household == of)
            if of is not None and gone.rowcount and not connection.execute(left).scalar():
                _forget_household(connection, of)
            connection.execute(delete(login).where(login.c.account == name))
            connection.execute(delete(outgoing).where(outgoing.c.to == name, outgoing.c.kind == "mail"))
            connection.execute(update(audit).where(audit.c.by == name).values(by=f"{GONE}account"))
            connection.execute(update(review).where(review.c.answered_by == name).values(answered_by=f"{GONE}account"))

        self._db.write(forget)

    def _rows(self, asked: Any) -> list[dict[str, Any]]:
        return self._db.read(lambda connection: [dict(row) for row in connection.execute(asked).mappings()])

    def _upsert(self, table: Table, row: dict[str, Any], of: str) -> None:
        def keep(connection: Connection) -> None:
            stay(connection, [of])
            self._put(connection, table, row)

        self._db.write(keep)

    def _put(self, connection: Connection, table: Table, row: dict[str, Any]) -> None:
        keys = list(table.primary_key)
        kept = {name: value for name, value in row.items() if name not in {key.name for key in keys}}
        adding = insert_into(self._db.dialect, table).values(row).on_conflict_do_update(index_elements=keys, set_=kept)
        connection.execute(adding)


def _no_watch(name: str) -> Any:
    return delete(watch).where(watch.c.id == name)


def _forget_household(connection: Connection, of: str) -> None:
    """What says who it was is gone; what the books follow from stays, under an id that says nothing."""
    living = select(turn.c.id).where(turn.c.household == of, turn.c.state.in_(LIVE)).order_by(turn.c.id)
    if live := connection.execute(living).scalars().all():
        raise HasTurns(of, live)
    nobody = f"{GONE}{secrets.token_hex(8)}"
    for table in (vehicle, watch):
        connection.execute(delete(table).where(table.c.household == of))
    connection.execute(delete(review).where(review.c.household == of))
    connection.execute(delete(outgoing).where(outgoing.c.to == of, outgoing.c.kind == "notice"))
    connection.execute(delete(request_key).where(request_key.c.household == of))
    blank = {"household": nobody, "vehicle": None, "code": None, "rev": turn.c.rev + 1}
    connection.execute(update(turn).where(turn.c.household == of).values(blank))
    connection.execute(update(delivery).where(delivery.c.household == of).values(household=nobody))
    connection.execute(update(household_use).where(household_use.c.household == of).values(household=nobody))
    connection.execute(delete(household).where(household.c.id == of))
