"""Rows 4, 5 and 17: InfluxDB is down, busy, or lets us in no more."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus

import msgspec

from ingest.clock import parse_rfc3339
from ingest.store_influx import REQUESTS_AT_ONCE
from tools.faults.alarms import Alarms
from tools.faults.clocks import SITE, Bench, Teller, wall_ms
from tools.faults.http_proxy import Answer, HttpProxy, Request, Seen
from tools.faults.load import PATIENCE_S, end_of_load, loaded, place_for, without
from tools.faults.outcome import Asked, Outcome, until
from tools.faults.programs import Server
from tools.faults.rows import rows_of
from tools.faults.stage import Stage

AWAY, LATE = "store_unavailable", "store_late"
SAID_WITHIN_S = 30.0
DRAINED_WITHIN_S = (120.0, 60.0)
MOST_GROWTH_MIB = 150.0
SHORT_SPEED = 30
"""History is called late after a minute of service time."""
BUSY_AT_ONCE = 15_000
"""Readings said within a moment: more than the drainer holds ready for one write."""
OWN_PACE_S = 1.0
NEW_S = 2.0
"""A spool whose oldest batch is younger than this is as good as empty."""
WRITES_A_TRY = REQUESTS_AT_ONCE
"""So many may be under way before the first is refused."""
MARK = b"spool,"
MOST_A_SECOND = 6.0
"""Requests of any kind to an InfluxDB that takes nothing."""


def influxdb_down(asked: Asked) -> Outcome:
    """kill -9 of InfluxDB, and a start after ten minutes."""
    outcome, down_s = Outcome(), asked.pick(600.0, 6.0)
    speed = ("--speed", str(SHORT_SPEED)) if asked.short else ()
    with Stage(place_for(asked), asked.on) as stage:
        board = stage.enrolments.enroll_reader("board")
        order = Order(stage.before_influxd(), "site-0", "pile-000")
        server = stage.serve(*speed)
        alarms = Alarms(server, server.said.mqtt, board)
        street = loaded(stage, server, asked, 1_000, 200)
        for _ in range(asked.times):
            street.wait_for_acks(PATIENCE_S)
            time.sleep(asked.pick(10.0, 2.0))
            before_mib = server.memory_mib()
            stage.influxd().kill()
            killed_ms, until_s = service_ms(server), time.monotonic() + down_s
            evidence = alarms.raised(AWAY, SAID_WITHIN_S)
            alarms.raised(LATE, 60.0 + SAID_WITHIN_S)
            peak_mib, most_rows = before_mib, 0
            while time.monotonic() < until_s:
                street.wait_for_acks(PATIENCE_S)
                peak_mib = max(peak_mib, server.memory_mib())
                most_rows = max(most_rows, server.health().spool_rows)
                time.sleep(0.2)
            since = alarms.evidence(LATE) or ""
            behind_s = (killed_ms - _time_in(since)) / 1000
            most_s = asked.pick(5.0, 10.0) * server.health().speed  # a few rounds of the drainer, by a fast clock
            outcome.must(-1 <= behind_s <= most_s, f"InfluxDB went {behind_s:.1f} s after what is said: {since}")
            stage.influxd().start()
            started_s = time.monotonic()
            drained(server, outcome)
            outcome.recovered(time.monotonic() - started_s, asked.pick(*DRAINED_WITHIN_S))
            for code in (AWAY, LATE):
                alarms.cleared(code, SAID_WITHIN_S)
            outcome.must(
                peak_mib - before_mib <= MOST_GROWTH_MIB,
                f"memory grew from {before_mib:.0f} to {peak_mib:.0f} MiB while InfluxDB was down",
            )
            outcome.figures |= {"down_s": down_s, "spooled_rows": most_rows, "said": evidence, "late": since}
            outcome.figures["memory_mib"] = f"{before_mib:.0f}, at most {peak_mib:.0f} while it was down"
        alarms.close()
        end_of_load(outcome, stage, server, street)
    outcome.must(order.seqs > 0, "no write of the watched pile was seen")
    outcome.must(not order.broken, f"not drained in order: {order.broken[:3]}")
    return outcome


def influxdb_busy(asked: Asked) -> Outcome:
    """503 for a while, then 429 with Retry-After, while readings come in large arrays, too."""
    outcome, told_s = Outcome(), int(asked.pick(5, 2))
    whole = place_for(asked)
    with Stage(whole, asked.on) as stage:
        stage.play_only(without(whole, SITE))
        board = stage.enrolments.enroll_reader("board")
        proxy = stage.before_influxd()
        server = stage.serve()
        alarms, bench = Alarms(server, server.said.mqtt, board), Bench(stage, server.said.mqtt, board)
        street, teller = loaded(stage, server, asked, 1_000, 200), Teller(bench, 0)
        teller.status(wall_ms(), 0)
        for number, (answer, least_gap_s) in enumerate(
            (
                (said_no(503, "the engine is closed"), OWN_PACE_S / 2),
                (said_no(429, "too many requests", {"Retry-After": str(told_s)}), float(told_s)),
            )
        ):
            proxy.script = partial(_always, answer)
            began_s = time.monotonic()
            alarms.raised(AWAY, SAID_WITHIN_S)
            teller.say([(number * BUSY_AT_ONCE + seq, wall_ms()) for seq in range(1, BUSY_AT_ONCE + 1)])
            until(partial(_past, began_s + asked.pick(30.0, 6.0)), 60.0, "the phase ends")
            busy_s = time.monotonic() - began_s
            seen = [one for one in proxy.seen(began_s) if one.status == answer.status]
            proxy.script = lambda _request: None
            outcome.figures[f"writes_at_{answer.status}"] = sum(one.is_write for one in seen)
            outcome.figures[f"requests_at_{answer.status}"] = f"{len(seen)} in {busy_s:.0f} s"
            outcome.missed += stormy(seen, least_gap_s, busy_s)
            healed_s = time.monotonic()
            alarms.cleared(AWAY, told_s + SAID_WITHIN_S)
            drained(server, outcome)
            outcome.recovered(time.monotonic() - healed_s, asked.pick(*DRAINED_WITHIN_S))
        alarms.close()
        bench.close()
        end_of_load(outcome, stage, server, street)
        told(outcome, stage, teller)
    return outcome


def token_revoked(asked: Asked) -> Outcome:
    """The token that `serve` was given is revoked, and given back after a while."""
    outcome = Outcome()
    with Stage(place_for(asked), asked.on) as stage:
        board = stage.enrolments.enroll_reader("board")
        owner = stage.influxd().server
        token_id, stage.settings["LUNCHONG_INFLUX_TOKEN"] = owner.new_token()
        server = stage.serve()
        alarms = Alarms(server, server.said.mqtt, board)
        street = loaded(stage, server, asked, 1_000, 200)
        for _ in range(asked.times):
            street.wait_for_acks(PATIENCE_S)
            owner.set_token(token_id, active=False)
            revoked_s = time.monotonic()
            said = alarms.raised(AWAY, SAID_WITHIN_S)
            outcome.figures |= {"said": said, "said_after_s": round(time.monotonic() - revoked_s, 2)}
            outcome.must("token" in said, f"the alarm does not name the token: {said}")
            street.wait_for_acks(PATIENCE_S)
            until(partial(_past, revoked_s + asked.pick(30.0, 4.0)), 60.0, "the token comes back")
            outcome.figures["spooled_rows"] = rows = server.health().spool_rows
            outcome.must(rows > 0, "nothing was spooled")
            owner.set_token(token_id, active=True)
            given_s = time.monotonic()
            alarms.cleared(AWAY, SAID_WITHIN_S)
            drained(server, outcome)
            outcome.recovered(time.monotonic() - given_s, asked.pick(*DRAINED_WITHIN_S))
        alarms.close()
        end_of_load(outcome, stage, server, street)
    return outcome


class Order:
    """In which order the seqs of one pile reach the store. `broken` says in a line each what came too late.

    What is written between two marks of how far the spool is drained belongs together, and may go side by side.
    """

    def __init__(self, proxy: HttpProxy, site: str, device: str) -> None:
        self.broken: list[str] = []
        self._line = re.compile(
            rb"^pile,(?=[^ ]*\bsite=%s\b)(?=[^ ]*\bdevice=%s\b)[^ ]* (?=.*\bboot=\"([^\"]*)\").*\bseq=(\d+)i"
            % (site.encode(), device.encode()),
            re.MULTILINE,
        )
        self._stored: dict[bytes, set[int]] = {}
        self._newest: dict[bytes, int] = {}
        """By boot, the highest seq before the last mark."""
        self._lock = threading.Lock()
        proxy.on_done = self._written

    @property
    def seqs(self) -> int:
        return sum(map(len, self._stored.values()))

    def _written(self, request: Request, status: int) -> None:
        if not request.is_write or status != HTTPStatus.NO_CONTENT:
            return
        text = request.text()
        with self._lock:
            if text.startswith(MARK):
                self._newest = {boot: max(seqs) for boot, seqs in self._stored.items()}
            for boot, said in self._line.findall(text):
                seqs, newest, seq = self._stored.setdefault(boot, set()), self._newest.get(boot, 0), int(said)
                if seq not in seqs and seq < newest:
                    self.broken.append(f"{seq} after {newest}")
                seqs.add(seq)


def stormy(seen: Iterable[Seen], least_gap_s: float, for_s: float) -> list[str]:
    """What is wrong with the requests made to a server that said no, and when to come again; a line each."""
    seen = list(seen)
    writes = [one.mono_s for one in seen if one.is_write]
    gaps_s = [later - earlier for earlier, later in zip(writes, writes[WRITES_A_TRY:], strict=False)]
    wrong = []
    if len(writes) < 2:
        wrong.append(f"it was tried {len(writes)} times in {for_s:.0f} s")
    if early := [round(gap_s, 2) for gap_s in gaps_s if gap_s < least_gap_s - 0.05]:
        wrong.append(f"{len(early)} writes came before the time that was told, after {early[:5]} s of {least_gap_s:g}")
    if len(seen) > MOST_A_SECOND * for_s:
        wrong.append(f"a storm: {len(seen)} requests in {for_s:.0f} s")
    return wrong


def said_no(status: int, why: str, headers: dict[str, str] | None = None) -> Answer:
    """As InfluxDB words it."""
    body = msgspec.json.encode({"code": HTTPStatus(status).phrase.lower(), "message": why})
    return Answer(status, {"Content-Type": "application/json; charset=utf-8"} | (headers or {}), body)


def drained(server: Server, outcome: Outcome) -> None:
    """Wait until the store is as new as what comes in; meanwhile history only ever gets longer."""
    until_ms = [0]

    def is_up_to_date() -> bool:
        health = server.health()
        now_ms = parse_rfc3339(health.complete_until)
        # An empty spool is complete until now; with a load it is as old as its newest round, or two.
        went_back = now_ms < until_ms[0] - NEW_S * 1000 * health.speed
        outcome.must(not went_back, f"history went back to {health.complete_until} while it was drained")
        until_ms[0] = max(until_ms[0], now_ms)
        return went_back or health.spool_age_s <= NEW_S * health.speed

    until(is_up_to_date, DRAINED_WITHIN_S[0], "the spool is drained")


def told(outcome: Outcome, stage: Stage, teller: Teller) -> None:
    """What a teller said against its rows."""
    rows = [(row.boot, row.seq) for row in rows_of(stage, teller.name)]
    outcome.figures["told"] = len(teller.expected)
    outcome.count(len(teller.expected.keys() - set(rows)), len(rows) - len(set(rows)))


def _always(answer: Answer, _request: Request) -> Answer:
    return answer


def _past(moment_s: float) -> bool:
    return time.monotonic() > moment_s


def _time_in(evidence: str) -> int:
    found = re.search(r"\S+Z$", evidence)
    return parse_rfc3339(found[0]) if found else 0


def service_ms(server: Server) -> int:
    return parse_rfc3339(server.health().service_time)
