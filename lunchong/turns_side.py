"""The side that owns the promises: ledger, desk, and the rounds of who leads. `serve` has it."""

from __future__ import annotations

import logging
import secrets
import sys
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from api.turns import Turns
from ingest.assets import Inventory
from ingest.clock import rfc3339
from ingest.enrolments import ServiceKey
from ingest.messages import AnyCommand, ServiceNotice
from ingest.workdays import is_workday
from lunchong.errors import UserError
from lunchong.inventory_file import InventoryInUse
from lunchong.jobs import Jobs
from lunchong.live_clock import LiveClock
from lunchong.process import NOTICE_EVERY_S
from lunchong.settings import Settings
from scheduler.alone import Alone
from scheduler.arrivals import Arrivals
from scheduler.boards import boards
from scheduler.calls import CALLS, call_name
from scheduler.desk import Desk
from scheduler.dispatch import Dispatch
from scheduler.ground import Ground, Heard
from scheduler.leading import Leader
from scheduler.ledger import LedgerUnavailable
from scheduler.ledger_engine import engine_of
from scheduler.ledger_migrations import LedgerTooNew, migrate
from scheduler.ledger_sql import SqlLedger
from scheduler.line import Line
from scheduler.looking_out import LookingOut
from scheduler.mail import Mailer, mail_server, no_mail
from scheduler.opening_up import adopt_initial_rules
from scheduler.plan import Plan, Problem
from scheduler.plan_greedy import greedy
from scheduler.planning import TURNOVER, Planning
from scheduler.post import Post
from scheduler.rounds import Rounds
from scheduler.turns import HOLDING
from scheduler.watch import AWAKE_MS, Watch
from scheduler.webhook import Webhook

log = logging.getLogger(__name__)

ROUND_EVERY_S = (1.0, 0.2)
"""And at most each minute of service time, down to the smaller."""
AWAKE_WALL_MS = 5_000
"""Where service time runs fast, so long between two looks is no sleep."""
SOLVE_S = 1.0
FAST = 60
"""Above this speed there is no time to make a plan better than the first one."""
SWITCH_S = 0.0005
"""Each statement of the ledger gives the interpreter away, and waits so long behind ingest to have it back."""
SITES, FAST_SITES = 2, 6
"""Planned in one round at the most."""


class Drawn:
    """Ids, call names and codes by chance; codes from a generator that nobody can guess."""

    def turn_id(self) -> str:
        return secrets.token_hex(8)

    def call(self) -> str:
        return call_name(secrets.randbelow(CALLS))

    def code(self) -> str:
        return f"{secrets.randbelow(1_000_000):06d}"


class TurnsSide:
    """The ledger is opened and brought to this version at once; nothing is promised before `start`."""

    def __init__(self, settings: Settings, in_use: InventoryInUse, clock: LiveClock, ending: ExitStack) -> None:
        self._in_use, self._clock, self._timezone = in_use, clock, settings.timezone
        self._webhook_url = settings.webhook_url
        self._mail_server = mail_server(settings.mail_url) if settings.mail_url else None
        self.ledger = open_ledger(settings.ledger_url)
        ending.callback(self.ledger.close)
        self._since = rfc3339(clock.service_ms())
        self._holder = secrets.token_hex(8)
        self._leader = Leader(self.ledger, self._holder)
        self._said = ""
        self._alone = Alone()

    def start(
        self, mqtt_url: str, key: ServiceKey, trust: dict[str, Path | None], ending: ExitStack, jobs: Jobs
    ) -> None:
        """Hear the devices, and lead as long as nobody else does."""
        self._line = Line(
            mqtt_url,
            self._notice,
            client_id=f"{key.client_id}-{self._holder}",  # who stands by is connected too
            username=key.username,
            password=key.password,
            **trust,
        )
        heard = Heard(self._line.state, self._line.believed, lambda: self._clock.speed, self._line.token)
        self._ground = Ground(lambda: self._in_use.inventory, heard)
        self.desk = Desk(self.ledger, self._ground, Drawn(), is_workday)
        self.planning = Planning(self.desk, self._ground, self._solve, is_workday, TURNOVER)
        self._given = Turns(
            self.desk, self.ledger.accounts, self._timezone, self.planning.likely, self._mail_server is not None
        )
        arrivals = Arrivals(self.desk, self._ground, self._alone)
        self._rounds = Rounds(
            self.desk,
            self._ground,
            Watch(self.desk, self._ground, round(max(AWAKE_MS, AWAKE_WALL_MS * self._clock.speed)), around=self._alone),
            arrivals,
            self.planning,
            FAST_SITES if self._clock.speed > FAST else SITES,
            lambda: self._clock.speed,
            self._alone,
        )
        self._looking_out = LookingOut(self.desk, self._ground, self.ledger.accounts)
        self._post = Post(self.desk, Webhook(self._webhook_url, self._timezone) if self._webhook_url else None)
        mailer = (
            Mailer(self._mail_server, self._timezone, self.ledger.accounts.account) if self._mail_server else no_mail
        )
        self._mails = Post(self.desk, mailer, "mail")
        self._dispatch = Dispatch(
            self.desk,
            self._ground,
            self._command,
            lambda: self._clock.speed,
            arrivals.refused,
            self._timezone,
            self._alone,
        )
        self.use(self._in_use.inventory)
        sys.setswitchinterval(SWITCH_S)
        self._line.start()
        ending.callback(self._line.stop)
        usual_s, fastest_s = ROUND_EVERY_S
        every_s = min(usual_s, max(fastest_s, 60 / self._clock.speed))
        jobs.every(every_s, self._round)
        jobs.every(every_s, self._send)  # who carries notices may take its time, and promises do not wait for that
        jobs.every(every_s, self._mail)  # a mail server may take longer still
        jobs.every(NOTICE_EVERY_S, self._line.say)

    def use(self, inventory: Inventory) -> None:
        wrong = adopt_initial_rules(self.ledger, inventory, self._timezone, self._clock.service_ms())
        for site, why in wrong.items():
            log.warning("nobody can ask for turns at %s yet: %s", site, why)

    def given(self) -> Turns:
        """For whoever shows turns, and takes wishes."""
        return self._given

    def _round(self) -> None:
        try:
            if self._leader.turn(self._clock.mono_s()):
                self._alone.begin(self._clock.service_ms())
                self._rounds.round(self._clock.service_ms(), self._clock.mono_s())
                self._tell()
                self._steer()
                self._looking_out.look(self._clock.service_ms())
            self._said = ""
        except LedgerUnavailable as away:
            if str(away) != self._said:
                self._said = str(away)
                log.warning("the ledger is away: %s", away)

    def _send(self) -> None:
        if self._leader.leads(self._clock.mono_s()):
            with suppress(LedgerUnavailable):  # the round says it
                self._post.turn(self._leader.epoch, self._clock.service_ms())

    def _mail(self) -> None:
        if self._leader.leads(self._clock.mono_s()):
            with suppress(LedgerUnavailable):
                self._mails.turn(self._leader.epoch, self._clock.service_ms())

    def _tell(self) -> None:
        held = self.ledger.turns(states=HOLDING)
        sites = self._ground.sites().values()
        if self._leader.turn(self._clock.mono_s()):  # a round may have been stopped for long, and others told since
            self._line.tell(boards(sites, held, self._leader.epoch, self._clock.service_ms()))

    def _steer(self) -> None:
        """Tell the plugs what they may draw; after `turns`, so that the devices know the epoch."""
        for device, result in self._line.results():
            self._dispatch.answered(device, result)
        self._dispatch.round(self._leader.epoch, self._clock.service_ms(), self._clock.mono_s())

    def _command(self, device: str, command: AnyCommand) -> None:
        if self._leader.leads(self._clock.mono_s()):
            self._line.command(device, command)

    def _solve(self, problem: Problem) -> Plan:
        if self._clock.speed > FAST:
            return greedy(problem)
        from scheduler.plan_solver import Limit, improved  # a second of imports, for the first who waits

        return improved(problem, Limit(seconds=SOLVE_S, clock_s=self._clock.mono_s))

    def _notice(self) -> ServiceNotice:
        reading = self._clock.reading
        return ServiceNotice(
            v=1, online=True, version=version("lunchong"), since=self._since, clock=reading,
            conditions=[
                *self._dispatch.conditions, *self._alone.conditions, *self._post.conditions, *self._mails.conditions,
            ],
        )  # fmt: skip


def open_ledger(url: str) -> SqlLedger:
    """The ledger there, brought to this version. Raises UserError in one line."""
    try:
        engine = engine_of(url)
        migrate(engine)
    except LedgerTooNew as error:
        raise UserError(str(error)) from None
    except (SQLAlchemyError, ImportError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise UserError(
            f"cannot open the ledger: {reason}; LUNCHONG_LEDGER_URL is sqlite:///FILE or postgresql+psycopg://…"
        ) from None
    return SqlLedger(engine)
