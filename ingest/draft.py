"""Floor 2 · What was gathered for the next commit, and what follows from it once it is synced."""

from __future__ import annotations

from hashlib import sha256

from msgspec import Struct

from ingest.clock import DAY_MS, Now
from ingest.codec import Refused
from ingest.facts import Batch, DeadLetter, Row, Session, SkewMark
from ingest.memory import DeviceMemory
from ingest.messages import SessionNotice
from ingest.ranges import Ranges
from ingest.rows import Measurement
from ingest.runs import Run
from ingest.spooling import Commit, DeadSeen, SeenChange, encode_record
from ingest.states import session_notice, withdrawn_notice


class Drawn(Struct, frozen=True):
    """One commit, and what may be said only after it is synced."""

    commit: Commit
    acks: dict[tuple[str, str], Ranges]
    """By (SITE/DEVICE, boot on the wire): seqs that are durable then."""
    changed: dict[str, bool]
    """Devices whose state changed; True where it should be told at once."""
    notices: list[SessionNotice]


class Draft:
    """The next commit in the making."""

    def __init__(self, sessions: dict[str, Session], dead_seen: dict[bytes, DeadSeen]) -> None:
        """Both are kept up: the `sessions` open now by id, and what went to the dead letters within a day."""
        self._open = sessions
        self._dead_seen = dead_seen
        self.rows: dict[Measurement, list[Row]] = {"pile": [], "station": [], "event": []}
        self._sessions: dict[str, Session] = {}
        self._withdrawn: set[str] = set()
        self._dead: dict[str, DeadLetter] = {}
        self._dead_changes: dict[bytes, DeadSeen] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._touched: dict[str, DeviceMemory] = {}
        self._acks: dict[tuple[str, str], Ranges] = {}
        self._changed: dict[str, bool] = {}
        self._notices: list[SessionNotice] = []
        self.skewed: list[SkewMark] = []
        self.revived: set[str] = set()

    @property
    def empty(self) -> bool:
        return not (self._touched or self._dead or self._acks or self.revived)

    def touch(self, memory: DeviceMemory, *, urgent: bool = False) -> None:
        """The device's record changed."""
        name = memory.name
        self._touched[name] = memory
        self._changed[name] = urgent or self._changed.get(name, False)

    def remember(self, memory: DeviceMemory, name: str, boot: str, wire: str, seq: int) -> bool:
        """Put a seq into the duplicate memory and among the acks. False if it was seen before."""
        seen = memory.seen[boot]
        new = seen.add(seq)
        lo, hi = seen.around(seq)
        if new and lo < self._seen.get((name, boot), lo + 1):
            self._seen[name, boot] = lo
            self._touched[name] = memory
        self.ack(name, wire, lo, hi)
        return new

    def remember_run(self, memory: DeviceMemory, run: Run) -> None:
        """The same for a run of seqs that are all new."""
        seen = memory.seen[run.boot]
        seen.add_range(run.lo, run.hi)
        lo, hi = seen.around(run.hi)
        key = memory.name, run.boot
        if lo < self._seen.get(key, lo + 1):
            self._seen[key] = lo
            self._touched[key[0]] = memory
        self.ack(memory.name, run.wire, lo, hi)

    def relearn(self, memory: DeviceMemory, boot: str, lo: int, hi: int) -> None:
        """Seqs found again in the store: into the duplicate memory, not among the acks."""
        memory.seen[boot].add_range(lo, hi)
        self.rewrite_seen(memory, boot)

    def rewrite_seen(self, memory: DeviceMemory, boot: str) -> None:
        self._seen[memory.name, boot] = 0
        self.touch(memory)

    def ack(self, name: str, wire: str, lo: int, hi: int) -> None:
        ranges = self._acks.get((name, wire))
        if ranges is None:
            ranges = self._acks[name, wire] = Ranges()
        ranges.add_range(lo, hi)

    def keep_sessions(self, sessions: list[Session], *, urgent: DeviceMemory | None = None) -> None:
        for session in sessions:
            self._notices.append(session_notice(self._open.get(session.id), session))
            self._sessions[session.id] = session
            self._withdrawn.discard(session.id)
            if session.ended_ms is None:
                self._open[session.id] = session
            else:
                self._open.pop(session.id, None)
        if sessions and urgent is not None:
            self.touch(urgent, urgent=True)

    def withdraw(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
        self._open.pop(session.id, None)
        self._withdrawn.add(session.id)
        self._notices.append(withdrawn_notice(session))

    def bury(self, topic: str, refused: Refused, now: Now) -> None:
        """A dead letter. The same bytes on the same topic within a day are counted, not kept again."""
        digest = sha256(topic.encode() + b"\0" + refused.payload).digest()[:16]
        known = self._dead_seen.get(digest)
        if known is None or now.service_ms - known.first_ms >= DAY_MS:
            known = DeadSeen(digest, f"{now.service_ms:013d}-{digest.hex()[:12]}", now.service_ms, 0)
        known = DeadSeen(digest, known.id, known.first_ms, known.count + 1)
        self._dead_seen[digest] = self._dead_changes[digest] = known
        self.revived.discard(known.id)
        self._dead[known.id] = DeadLetter(
            id=known.id, received_ms=known.first_ms, topic=topic, payload=refused.payload, reason=refused.reason,
            boot=refused.boot, seq=refused.seq, count=known.count,
        )  # fmt: skip

    def revive(self, letter_id: str) -> None:
        """A dead letter was taken after all."""
        self._dead.pop(letter_id, None)
        self.revived.add(letter_id)

    def drawn(self) -> Drawn:
        seen = [
            SeenChange(name, boot, from_lo, self._touched[name].seen.get(boot, Ranges()).from_lo(from_lo))
            for (name, boot), from_lo in self._seen.items()
        ]
        batch = Batch(
            spool="", no=0, pile=self.rows["pile"], station=self.rows["station"], event=self.rows["event"],
            sessions=list(self._sessions.values()), withdrawn=sorted(self._withdrawn), dead=list(self._dead.values()),
            revived=sorted(self.revived), skewed=self.skewed,
        )  # fmt: skip
        records = {name: encode_record(memory.record) for name, memory in self._touched.items()}
        commit = Commit(batch, seen, records, list(self._dead_changes.values()))
        return Drawn(commit, self._acks, self._changed, self._notices)
