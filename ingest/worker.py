"""Floor 4 · The ingest process: from the bus through the spool to the store, and back as acks and states.

Three threads: the bus's own takes publishes in, the committer (here) makes them durable and answers, the drainer
writes them to the store. A publish is acknowledged, by PUBACK and by `ack`, only after its commit is synced.
"""

from __future__ import annotations

import logging
import threading
import time

from ingest.accounts import DeviceAccount, IngestStatus, account
from ingest.assets import Inventory
from ingest.catching_up import FULL_RETRY_S, CatchUp
from ingest.clock import DAY_MS, Now
from ingest.codec import encode
from ingest.drain import Drainer
from ingest.inbox import Inbox
from ingest.mender import Mender
from ingest.messages import ServiceNotice
from ingest.mqtt import Arrival, Bus
from ingest.pipeline import Pipeline
from ingest.retries import DeadLetterRetries
from ingest.running import Clock, IngestSettings
from ingest.spool import SqliteSpool
from ingest.spooling import SpoolFull
from ingest.store import TelemetryStore
from ingest.telling import Teller
from ingest.topics import ROOT, service_topic
from ingest.upkeep import Upkeep
from ingest.wellbeing import Wellbeing

log = logging.getLogger(__name__)

COMMIT_EVERY_S = 0.02
COMMIT_MOST_S = 0.05
"""A commit costs by the devices in it: where that is half the time, more messages wait for the next one."""
TICK_S = 0.05
REVIEW_EVERY_S = 1.0
FORGET_EVERY_S = 600.0
STOP_S = 5.0
DRAIN_WAIT_S = 5.0
SEEN_DAYS = 30
QUEUE_S = 5.0
"""What comes so soon after a connect may have waited at the broker while we were away."""
START_OVER_S = 1.0
CAREFUL_S = 60.0
"""After an error of ours messages are taken singly, so that the one that makes us fail goes to the dead letters."""
MEND_EVERY_S = 0.2
SUBSCRIPTIONS = ((f"{ROOT}/+/+/telemetry", 1), (f"{ROOT}/+/+/status", 1))
OFFLINE = encode(ServiceNotice(v=1, online=False))


class IngestWorker:
    """Runs ingest for every site of the inventory. `start` returns at once; `stop` commits and drains what it can."""

    def __init__(self, settings: IngestSettings, inventory: Inventory, store: TelemetryStore, clock: Clock) -> None:
        """Opens the spool in the data folder. Raises OSError when it cannot be written."""
        self._settings, self._store, self._clock = settings, store, clock
        self._inventory = inventory
        now = self._now()
        self._spool = SqliteSpool(settings.data_dir, now.service_ms)
        self._pipeline = self._load()
        upkeep = Upkeep(store, clock, settings.retention_days)
        self._drainer = Drainer(self._spool, store, upkeep.turn)
        self._catch_up = CatchUp(self._spool, self._drainer, store)
        self._catch_up.begin(self._pipeline, now)
        self._wellbeing = Wellbeing(self._spool, self._drainer, upkeep, clock, settings.version)
        self._retries = DeadLetterRetries(self._spool, store, self._drainer)
        self._mender = Mender(self._drainer, self._spool, store)
        self._bus = Bus(
            settings.mqtt_url, client_id=settings.client_id, username=settings.username, password=settings.password,
            subscriptions=SUBSCRIPTIONS, on_arrival=self._receive, on_connect=self._connected,
            will=(service_topic("ingest"), OFFLINE, 1, True), persistent=True, manual_ack=True,
            ca_file=settings.ca_file, pinned_cert=settings.pinned_cert,
        )  # fmt: skip
        first_rev = max(self._spool.starts << 32, clock.wall_ms() * 1000)
        self._teller = Teller(self._bus.publish, speed=clock.speed, first_rev=first_rev)
        self._inbox = Inbox(self._bus.hold)
        self._woken = threading.Event()
        self._lock = threading.RLock()
        self._stopping = False
        self._abandoned = False
        """A commit was given up at the end: nothing may be committed after it."""
        self._careful_until_s = 0.0
        self._reconnected = False
        self._connected_s = clock.mono_s()
        self._forgotten = self._drainer.drained
        self._review_due_s = self._mend_due_s = 0.0
        self._forget_due_s = clock.mono_s() + FORGET_EVERY_S
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)

    def start(self) -> None:
        self._drainer.start()
        self._thread.start()
        self._bus.start()

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()
        self._thread.join(STOP_S)
        self._bus.stop((service_topic("ingest"), OFFLINE, 1, True))
        self._drainer.stop(STOP_S)
        if not self._thread.is_alive():
            self._spool.close()

    @property
    def running(self) -> bool:
        """False when an error of our own ended it; the log has the error."""
        return self._thread.is_alive()

    @property
    def connected(self) -> bool:
        return self._bus.connected

    @property
    def broker_error(self) -> str:
        """Why the line to the broker does not stand; what was last wrong with it where it does."""
        return self._bus.last_error

    def reload_inventory(self, inventory: Inventory) -> None:
        with self._lock:
            self._inventory = inventory
            for name in self._pipeline.use(inventory):
                self._teller.forget(name)
            self._teller.tell_all(list(self._pipeline.devices))

    def accounts(self) -> list[DeviceAccount]:
        with self._lock:
            return [account(memory) for memory in self._pipeline.devices.values()]

    def status(self) -> IngestStatus:
        with self._lock:
            return self._wellbeing.status(connected=self._bus.connected)

    def wait_drained(self, within_s: float) -> bool:
        """Wait until the store has all that was committed before this call."""
        last_no, until_s = self._spool.last_no, self._clock.mono_s() + within_s
        while self._drainer.drained < last_no and self._clock.mono_s() < until_s:
            time.sleep(TICK_S)
        return self._drainer.drained >= last_no

    def retry_dead(self, ids: list[str]) -> tuple[int, int]:
        """Try dead letters again, say after the inventory was mended. Returns how many were taken, and how many not.

        Raises StoreUnavailable when the store, or a full disk, does not let it be done now.
        """
        counts = self._retries.ask(ids, self._woken.set, DRAIN_WAIT_S)
        self.wait_drained(DRAIN_WAIT_S)
        return counts

    def forget_damage(self) -> None:
        """An operator has seen what a damaged spool lost."""
        with self._lock:
            self._spool.forget_damage()

    def _receive(self, arrival: Arrival) -> None:
        self._inbox.put(arrival)
        self._woken.set()

    def _connected(self) -> None:
        self._reconnected = True
        self._woken.set()

    def _now(self) -> Now:
        return Now(self._clock.service_ms(), self._clock.mono_s())

    def _load(self, *, careful: bool = False) -> Pipeline:
        heard = None if self._clock.judges_skew else self._clock.heard
        judge_skew = self._clock.judges_skew
        return Pipeline(self._inventory, self._spool.load(), judge_skew=judge_skew, heard=heard, careful=careful)

    def _run(self) -> None:
        while not self._stopping:
            self._woken.wait(TICK_S)
            self._woken.clear()
            began_s = self._clock.mono_s()
            self._guarded_round(began_s)
            took_s = self._clock.mono_s() - began_s
            every_s = COMMIT_EVERY_S if self._inbox.full else min(max(COMMIT_EVERY_S, 2 * took_s), COMMIT_MOST_S)
            rest_s = every_s - took_s
            if rest_s > 0 and not self._stopping:
                time.sleep(rest_s)
            if self._inbox:
                self._woken.set()
        self._guarded_round(self._clock.mono_s())

    def _guarded_round(self, mono_s: float) -> None:
        """An error of ours must not leave half a memory: what is synced is read again, the rest is sent again."""
        with self._lock:
            try:
                if not self._abandoned:
                    self._round(mono_s)
            except Exception as mistake:
                log.exception("ingest begins again from its spool, one message at a time")
                self._inbox.clear()
                self._mender.give_up()
                self._pipeline = self._load(careful=True)
                self._careful_until_s = mono_s + CAREFUL_S
                self._wellbeing.began_again(mistake)
                self._bus.reconnect()
                time.sleep(START_OVER_S)

    def _round(self, mono_s: float) -> None:
        received = self._take(mono_s)
        self._pipeline.settle(self._now())
        if mono_s >= self._review_due_s:
            self._review_due_s = mono_s + REVIEW_EVERY_S
            self._pipeline.review(self._now())
            self._pipeline.careful = mono_s < self._careful_until_s
            if not self._pipeline.careful:
                self._wellbeing.goes_well()
            self._keep_house(mono_s)
        if not self._pipeline.empty:
            self._commit(received)
            if self._abandoned:
                return
        elif received:
            self._bus.acknowledge(received)
        self._catch_up.turn(self._pipeline, self._now())
        self._retries.serve(self._pipeline, self._now(), lambda: self._commit([]))
        if mono_s >= self._mend_due_s:
            self._mend_due_s = mono_s + MEND_EVERY_S
            self._mender.turn(self._pipeline, self._wellbeing.waiting_rows, mono_s)
        if self._reconnected:
            self._reconnected = False
            self._connected_s = mono_s
            self._wellbeing.say_again()
            for name in self._pipeline.not_in_inventory():
                self._teller.forget(name)
            self._teller.tell_all(list(self._pipeline.devices))
        self._tell(mono_s)

    def _take(self, mono_s: float) -> list[Arrival]:
        received = self._inbox.take()
        while self._drainer.refused:
            self._pipeline.note_refused(self._drainer.refused.popleft())
        if received:
            publishes = [publish for arrival in received for publish in arrival.publishes]
            self._pipeline.take(publishes, self._now(), queued=mono_s - self._connected_s < QUEUE_S)
        return received

    def _commit(self, received: list[Arrival]) -> int:
        """Returns the number of the batch; 0 when the process ends before the disk took it."""
        drawn = self._pipeline.draw()
        while True:
            try:
                drained = self._mender.forgettable(self._drainer.drained)
                batch = self._spool.commit(drawn.commit, drained, self._clock.service_ms())
                break
            except SpoolFull as full:
                if self._stopping:
                    self._abandoned = True
                    return 0
                self._wait_for_space(str(full))
        self._wellbeing.disk_took_it()
        self._forgotten = drained
        self._bus.acknowledge(received)
        self._teller.after(drawn)
        self._drainer.give(batch)
        return batch.no

    def _wait_for_space(self, why: str) -> None:
        """Only the commit thread comes here, and nobody else commits: the lock may be let go meanwhile."""
        self._wellbeing.disk_is_full(why)
        self._tell(self._clock.mono_s())
        self._lock.release()
        time.sleep(FULL_RETRY_S)
        self._lock.acquire()

    def _tell(self, mono_s: float) -> None:
        self._teller.turn(self._pipeline.devices, self._pipeline.device, mono_s, self._clock.service_ms())
        self._wellbeing.tell(lambda said: self._bus.publish(service_topic("ingest"), said, 1, True), mono_s)

    def _keep_house(self, mono_s: float) -> None:
        """What can wait: let go of what the store has, and of what is too old to be asked for."""
        drained = self._mender.forgettable(self._drainer.drained)
        self._wellbeing.measure()
        try:
            if self._forgotten < drained == self._spool.last_no:
                self._spool.forget(drained)
                self._forgotten = drained
            if mono_s >= self._forget_due_s:
                self._forget_due_s = mono_s + FORGET_EVERY_S
                self._spool.expire(self._pipeline.forget_dead(self._now()))
                if self._settings.retention_days:
                    days = max(self._settings.retention_days, SEEN_DAYS)
                    self._pipeline.forget_old(self._clock.service_ms() - days * DAY_MS)
        except SpoolFull as full:
            log.warning("the spool cannot be tidied now: %s", full)
