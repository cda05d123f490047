"""Floor 4 · The ingest process: from the bus through the spool to the store, and back as acks and states.

Three threads: the bus's own takes publishes in, the committer (here) makes them durable and answers, the drainer
writes them to the store. A publish is acknowledged, by PUBACK and by `ack`, only after its commit is synced.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from ingest.accounts import DeviceAccount, IngestStatus, account, service_conditions
from ingest.assets import Inventory
from ingest.clock import Now, rfc3339
from ingest.codec import encode
from ingest.drain import Drainer
from ingest.messages import Condition, ServiceNotice
from ingest.mqtt import Bus, Inbound
from ingest.pipeline import Pipeline
from ingest.recovery import MOST_PENDING, all_dead_letters, mend_device, recover
from ingest.running import Clock, IngestSettings
from ingest.spool import SqliteSpool
from ingest.spooling import SpoolFull
from ingest.store import StoreUnavailable, TelemetryStore
from ingest.telling import Teller
from ingest.topics import ROOT, service_topic

log = logging.getLogger(__name__)

COMMIT_EVERY_S = 0.02
TICK_S = 0.05
REVIEW_EVERY_S = 1.0
NOTICE_EVERY_S = 10.0
ROLL_UP_EVERY_S = 5.0
EXPIRE_EVERY_S = 600.0
STOP_S = 5.0
DRAIN_WAIT_S = 5.0
DEAD_LETTER_DAYS = 30
SEEN_DAYS = 30
QUEUE_S = 5.0
"""What comes so soon after a connect may have waited at the broker while we were away."""
START_OVER_S = 1.0
MEND_EVERY_S = 0.2
FULL_RETRY_S = 0.5
MOST_TAKEN = 4_000
DAY_MS = 24 * 3_600_000
SUBSCRIPTIONS = ((f"{ROOT}/+/+/telemetry", 1), (f"{ROOT}/+/+/status", 1))
OFFLINE = encode(ServiceNotice(v=1, online=False))


class _Retry:
    """Dead letters that somebody wants to be tried again, by the commit thread."""

    def __init__(self, ids: frozenset[str]) -> None:
        self.ids = ids
        self.counted = 0
        self.taken: int | None = None
        self.why: str | None = None
        self.done = threading.Event()


class IngestWorker:
    """Runs ingest for every site of the inventory. `start` returns at once; `stop` commits and drains what it can."""

    def __init__(self, settings: IngestSettings, inventory: Inventory, store: TelemetryStore, clock: Clock) -> None:
        """Opens the spool in the data folder. Raises OSError when it cannot be written."""
        self._settings, self._store, self._clock = settings, store, clock
        now = self._now()
        self._spool = SqliteSpool(settings.data_dir, now.service_ms)
        self._pipeline = Pipeline(
            inventory,
            self._spool.load(),
            judge_skew=clock.judges_skew,
            heard=None if clock.judges_skew else clock.heard,
        )
        recover(self._pipeline, self._spool, store, now)
        self._drainer = Drainer(self._spool, store, self._store_jobs)
        self._since = rfc3339(clock.service_ms())
        self._bus = Bus(
            settings.mqtt_url, client_id=settings.client_id, username=settings.username, password=settings.password,
            subscriptions=SUBSCRIPTIONS, on_message=self._receive, wall=clock.wall_ms, on_connect=self._connected,
            will=(service_topic("ingest"), OFFLINE, 1, True), persistent=True, manual_ack=True,
            ca_file=settings.ca_file, pinned_cert=settings.pinned_cert,
        )  # fmt: skip
        first_rev = max(self._spool.starts << 32, clock.wall_ms() * 1000)
        self._teller = Teller(self._bus.publish, speed=clock.speed, first_rev=first_rev)
        self._inbox: deque[Inbound] = deque()
        self._woken = threading.Event()
        self._lock = threading.RLock()
        self._stopping = False
        self._abandoned = False
        """A commit was given up at the end: nothing may be committed after it."""
        self._connected_s = self._clock.mono_s()
        self._reconnected = False
        self._retries: deque[_Retry] = deque()
        self._reviving = {
            id_: b.no for b in self._spool.pending(self._drainer.drained, MOST_PENDING) for id_ in b.revived
        }
        self._full: tuple[int, str] | None = None
        self._away_since_ms: int | None = None
        self._told: tuple[bool, list[Condition]] | None = None
        self._size = self._spool.size(self._drainer.drained)
        self._forgotten = self._drainer.drained
        self._review_due_s = self._mend_due_s = self._notice_due_s = self._roll_up_due_s = 0.0
        self._expire_due_s = self._forget_due_s = clock.mono_s() + EXPIRE_EVERY_S
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
        self._spool.close()

    @property
    def running(self) -> bool:
        """False when an error of our own ended it; the log has the error."""
        return self._thread.is_alive()

    @property
    def connected(self) -> bool:
        return self._bus.connected

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
            self._measure_spool()
            return IngestStatus(
                accepting=self._full is None,
                connected=self._bus.connected,
                conditions=self._conditions(),
                spool_batches=self._size.batches,
                spool_rows=self._size.rows,
                spool_bytes=self._size.bytes,
                spool_age_s=max(0, self._clock.service_ms() - self._complete_until_ms()) / 1000,
                complete_until_ms=self._complete_until_ms(),
                broker_unsent=self._bus.unsent,
            )

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
        retry = _Retry(frozenset(ids))
        self._retries.append(retry)
        self._woken.set()
        if not retry.done.wait(DRAIN_WAIT_S):
            self._retries = deque(waiting for waiting in self._retries if waiting is not retry)
        if retry.taken is None:
            raise StoreUnavailable(retry.why or "nothing can be kept now; try again when `doctor` finds nothing wrong")
        self.wait_drained(DRAIN_WAIT_S)
        return retry.taken, len(ids) - retry.taken

    def forget_damage(self) -> None:
        """An operator has seen what a damaged spool lost."""
        with self._lock:
            self._spool.forget_damage()

    def _receive(self, message: Inbound) -> None:
        self._inbox.append(message)
        self._woken.set()

    def _connected(self) -> None:
        self._reconnected = True
        self._woken.set()

    def _now(self) -> Now:
        return Now(self._clock.service_ms(), self._clock.mono_s())

    def _load(self) -> Pipeline:
        heard = None if self._clock.judges_skew else self._clock.heard
        judge_skew = self._clock.judges_skew
        return Pipeline(self._inventory, self._spool.load(), judge_skew=judge_skew, heard=heard)

    def _learn_again(self, now: Now) -> None:
        damage = recover(self._pipeline, self._spool, self._store, now)
        if damage is not None:
            log.error("batches %s to %s were gone from the spool", damage.first_no, damage.last_no)
            if not self._pipeline.empty:
                self._spool.commit(self._pipeline.draw().commit, 0, now.service_ms)
            self._spool.record_damage(damage)

    def _run(self) -> None:
        while not self._stopping:
            self._woken.wait(TICK_S)
            self._woken.clear()
            began_s = self._clock.mono_s()
            self._guarded_round(began_s)
            rest_s = COMMIT_EVERY_S - (self._clock.mono_s() - began_s)
            if rest_s > 0 and not self._stopping:
                time.sleep(rest_s)
            if self._inbox:
                self._woken.set()
        self._guarded_round(self._clock.mono_s())

    def _guarded_round(self, mono_s: float) -> None:
        """An error of ours must not go on with half a memory: what is synced is read again, and the rest comes again."""
        with self._lock:
            try:
                if not self._abandoned:
                    self._round(mono_s)
            except Exception:
                log.exception("ingest begins again from its spool")
                self._inbox.clear()
                self._pipeline = self._load()
                self._bus.reconnect()
                time.sleep(START_OVER_S)

    def _round(self, mono_s: float) -> None:
        received = self._take(mono_s)
        self._pipeline.settle(self._now())
        if mono_s >= self._review_due_s:
            self._review_due_s = mono_s + REVIEW_EVERY_S
            self._pipeline.review(self._now())
            self._keep_house(mono_s)
        if not self._pipeline.empty:
            self._commit(received)
        elif received:
            self._bus.acknowledge(received)
        if self._retries:
            self._retry(self._retries.popleft())
        if mono_s >= self._mend_due_s:
            self._mend_due_s = mono_s + MEND_EVERY_S
            self._mend()
        if self._reconnected:
            self._reconnected = False
            self._connected_s = mono_s
            self._told = None
            for name in self._pipeline.not_in_inventory():
                self._teller.forget(name)
            self._teller.tell_all(list(self._pipeline.devices))
        self._tell(mono_s)

    def _take(self, mono_s: float) -> list[Inbound]:
        received: list[Inbound] = []
        count = 0
        queued = mono_s - self._connected_s < QUEUE_S
        while self._inbox and count < MOST_TAKEN:
            message = self._inbox.popleft()
            received.append(message)
            live = not message.retained
            count += 1 + self._pipeline.take(message.topic, message.payload, self._now(), live=live, queued=queued)
        return received

    def _commit(self, received: list[Inbound]) -> int:
        """Returns the number of the batch; 0 when the process ends before the disk took it."""
        drawn = self._pipeline.draw()
        while True:
            try:
                batch = self._spool.commit(drawn.commit, self._drainer.drained, self._clock.service_ms())
                break
            except SpoolFull as full:
                if self._stopping:
                    self._abandoned = True
                    return 0
                self._wait_for_space(str(full))
        self._full = None
        self._forgotten = self._drainer.drained
        self._bus.acknowledge(received)
        self._teller.after(drawn)
        self._drainer.give(batch)
        return batch.no

    def _wait_for_space(self, why: str) -> None:
        """Only the commit thread comes here, and nobody else commits: the lock may be let go meanwhile."""
        if self._full is None:
            log.error("nothing can be kept: %s; free some space, devices hold their readings until then", why)
            self._full = (self._clock.service_ms(), why)
        self._tell(self._clock.mono_s())
        self._lock.release()
        time.sleep(FULL_RETRY_S)
        self._lock.acquire()

    def _retry(self, retry: _Retry) -> None:
        """Each message once: other letters of the same boot and seq go with the one that was taken."""
        self._reviving = {letter: no for letter, no in self._reviving.items() if no > self._drainer.drained}
        taken: dict[tuple[str, str | None, int | None], str] = {}
        try:
            for letter in all_dead_letters(self._store):
                key = (letter.topic, letter.boot, letter.seq)
                if letter.id in self._reviving or (letter.id not in retry.ids and key not in taken):
                    continue
                if key in taken and letter.seq is not None:
                    self._pipeline.drop_letter(letter)
                elif letter.id in retry.ids and self._pipeline.revive(letter, self._now()):
                    taken[key] = letter.id
                    retry.counted += 1
        except StoreUnavailable as away:
            retry.why = str(away)
        if not self._pipeline.empty:
            no = self._commit([])
            self._reviving.update(dict.fromkeys(taken.values(), no))
        if retry.why is None:
            retry.taken = retry.counted
        retry.done.set()

    def _mend(self) -> None:
        if self._spool.last_no - self._drainer.drained > MOST_PENDING:
            return
        for memory in self._pipeline.to_mend():
            device = self._pipeline.device(memory.name)
            if device is None:
                continue
            try:
                found = mend_device(memory, device, self._store, self._spool, self._drainer.drained)
            except StoreUnavailable:
                return
            self._pipeline.mended(memory, found)
            if self._clock.mono_s() > self._mend_due_s:
                return

    def _tell(self, mono_s: float) -> None:
        self._teller.turn(self._pipeline.devices, self._pipeline.device, mono_s, self._clock.service_ms())
        self._notify(mono_s)

    def _notify(self, mono_s: float) -> None:
        """Say on `service/ingest` how we are: when that changed, and now and then."""
        says = (self._full is None, self._conditions())
        if says == self._told and mono_s < self._notice_due_s:
            return
        self._told = says
        self._notice_due_s = mono_s + NOTICE_EVERY_S
        notice = ServiceNotice(
            v=1, online=True, version=self._settings.version, since=self._since, clock=self._clock.reading,
            accepting=says[0], conditions=says[1],
        )  # fmt: skip
        self._bus.publish(service_topic("ingest"), encode(notice), 1, True)

    def _conditions(self) -> list[Condition]:
        away = self._drainer.unavailable
        if away is None:
            self._away_since_ms = None
        elif self._away_since_ms is None:
            self._away_since_ms = self._clock.service_ms()
        return service_conditions(
            full=self._full,
            away=None if away is None else (self._away_since_ms or 0, away),
            size=self._size,
            damage=self._spool.damage,
            now_ms=self._clock.service_ms(),
        )

    def _complete_until_ms(self) -> int:
        return self._clock.service_ms() if self._size.oldest_ms is None else self._size.oldest_ms

    def _measure_spool(self) -> None:
        try:
            self._size = self._spool.size(self._drainer.drained)
        except SpoolFull as full:
            log.warning("the spool cannot be measured: %s", full)

    def _keep_house(self, mono_s: float) -> None:
        """What can wait: let go of what the store has, and of what is too old to be asked for."""
        drained = self._drainer.drained
        self._measure_spool()
        try:
            if self._forgotten < drained == self._spool.last_no:
                self._spool.forget(drained)
                self._forgotten = drained
            if mono_s >= self._forget_due_s:
                self._forget_due_s = mono_s + EXPIRE_EVERY_S
                self._spool.expire(self._pipeline.forget_dead(self._now()))
                if self._settings.retention_days:
                    days = max(self._settings.retention_days, SEEN_DAYS)
                    self._pipeline.forget_old(self._clock.service_ms() - days * DAY_MS)
        except SpoolFull as full:
            log.warning("the spool cannot be tidied now: %s", full)

    def _store_jobs(self) -> None:
        """On the drainer's thread, after each round."""
        mono_s, now_ms = self._clock.mono_s(), self._clock.service_ms()
        if mono_s >= self._roll_up_due_s:
            self._store.roll_up(now_ms)
            self._roll_up_due_s = self._clock.mono_s() + ROLL_UP_EVERY_S
        if mono_s >= self._expire_due_s:
            self._expire_due_s = mono_s + EXPIRE_EVERY_S
            if self._settings.retention_days:
                self._store.expire(now_ms - self._settings.retention_days * DAY_MS)
            self._store.purge_dead(before_ms=now_ms - DEAD_LETTER_DAYS * DAY_MS)
