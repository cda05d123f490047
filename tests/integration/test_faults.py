"""The short form of each row of the fault matrix: real processes, killed, stopped, cut off and lied to."""

from __future__ import annotations

import re
import secrets
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from ingest.store import StoreUnavailable
from ingest.store_duckdb import DuckStore
from ingest.store_influx import InfluxStore
from tests.influx import want_influxd
from tests.stores import NINE_MS, Spool, meter
from tools.faults.__main__ import run
from tools.faults.count import counted
from tools.faults.http_proxy import HttpProxy, Request, Seen
from tools.faults.matrix import ROWS, missing
from tools.faults.outages import Order, stormy
from tools.faults.outcome import Asked, On, Outcome, until
from tools.faults.tcp_proxy import TcpProxy

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
AT_ONCE = 4
"""Rows wait more than they work."""
SEED = secrets.randbelow(1_000_000)
ACTS = [(number, on) for number in ROWS for on in ROWS[number].on]
WAIT_LONGEST = (11, 3)


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[dict[tuple[int, On], Future[Outcome]]]:
    """Those that are asked for, side by side."""
    said = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    acts = [(one.params["number"], one.params["on"]) for one in said if one]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {
            (number, on): pool.submit(run, number, Asked(SEED, short=True, on=on))
            for number, on in sorted(acts, key=lambda act: (act[0] not in WAIT_LONGEST, act))
            if not missing(number, on)
        }
        yield running
        for row in running.values():
            row.cancel()


@pytest.mark.slow
@pytest.mark.timeout(400)  # it may be another row that takes the cores meanwhile
@pytest.mark.parametrize(("number", "on"), ACTS)
def test_nothing_acknowledged_is_lost_or_doubled(rows, number, on):
    if on == "production":
        want_influxd()
    if lacks := missing(number, on):
        pytest.skip(lacks)
    outcome = rows[number, on].result()
    again = f"run it again: python -m tools.faults --short --row {number} --on {on} --seed {SEED}"
    assert outcome.missed == [], again
    assert (outcome.lost, outcome.duplicates) == (0, 0)


def test_the_page_of_the_matrix_says_what_each_row_runs_on():
    letters = {"embedded": "N", "production": "M"}
    said = dict(re.findall(r"^\| (\d+) \|.*\| ([NM, ]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert said == {str(number): ", ".join(letters[on] for on in row.on) for number, row in ROWS.items()}


def test_what_is_missing_or_there_twice_is_counted(tmp_path):
    """Else every row would always hold."""
    store, spool = DuckStore(tmp_path / "facts.duckdb"), Spool()
    store.write(spool.batch(*(meter(NINE_MS, seq=seq) for seq in (1, 2, 4, 4))))
    store.close()
    outcome = Outcome()
    counted(outcome, stage_of(lambda: DuckStore(tmp_path / "facts.duckdb")), street_of(tmp_path, "1,3", "1,7", "6,7"))
    assert outcome.figures["acked_and_not_stored"] == 1  # 3
    assert outcome.lost == 2  # and 5, which was sent and not reported dropped
    assert outcome.duplicates == 1
    assert len(outcome.missed) == 2


def test_a_store_that_writes_again_what_it_has_would_be_caught(tmp_path, influx_server, influx_prefix):
    """The answer to the first write is lost. Said again, equal points are overwritten; at other times they double."""

    def opened(url: str) -> InfluxStore:
        return InfluxStore(url, influx_server.token, org=influx_server.org, prefix=influx_prefix)

    street = street_of(tmp_path, "1,3", "1,3", "")
    cases = (("boot-a", NINE_MS, lambda _request: None, 0), ("boot-b", NINE_MS + 60_000, a_moment_later, 3))
    for name, at_ms, again, duplicates in cases:
        with HttpProxy(influx_server.url) as proxy:
            batch = Spool(name).batch(*(meter(at_ms, seq=seq, boot=name) for seq in (1, 2, 3)))
            proxy.script = lambda request: "lost" if request.is_write else None
            with closing(opened(proxy.url)) as store, pytest.raises(StoreUnavailable):
                store.write(batch)
            proxy.script = again
            with closing(opened(proxy.url)) as store:
                store.write(batch)
        for file in (street.acked, street.sent):
            file.write_text(re.sub("boot[^,]*", name, file.read_text()))
        outcome = Outcome()
        counted(outcome, stage_of(lambda: opened(influx_server.url)), street)
        assert (outcome.lost, outcome.duplicates) == (0, duplicates)


def test_a_drainer_that_does_not_wait_as_it_was_told_would_be_caught():
    told_s = 2.0
    assert stormy([tried(0.0), tried(0.1), tried(2.0), tried(4.1)], told_s, 6.0) == []
    assert len(stormy([tried(0.0), tried(0.1), tried(0.2), tried(1.5)], told_s, 6.0)) == 1
    assert len(stormy([tried(number / 20) for number in range(100)], told_s, 5.0)) == 2
    assert len(stormy([], told_s, 6.0)) == 1


def test_a_spool_that_drains_out_of_order_would_be_caught():
    proxy = SimpleNamespace()
    order = Order(proxy, "site-0", "pile-000")

    def wrote(*lines: str) -> None:
        proxy.on_done(Request("POST", "/api/v2/write?bucket=b", {}, "\n".join(lines).encode()), 204)

    def meters(*seqs: int, device: str = "pile-000") -> Iterator[str]:
        return (f'pile,connector=1,device={device},kind=meter,site=site-0 boot="b",seq={seq}i 1' for seq in seqs)

    wrote(*meters(3, 5))  # two requests side by side
    wrote(*meters(1, 2))
    wrote("spool,id=a drained=7i 0")
    wrote(*meters(1, 2, 5))  # said again
    wrote(*meters(3, device="pile-001"))
    assert (order.seqs, order.broken) == (4, [])
    wrote(*meters(4))
    assert order.broken == ["4 after 5"]


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that says to each client what it said."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:

        def answer(line: socket.socket) -> None:
            with line:
                while data := line.recv(65_536):
                    line.sendall(data)

        def serve() -> None:
            while True:
                line, _ = server.accept()
                pool.submit(ignoring_ends, answer, line)

        pool.submit(ignoring_ends, serve)
        yield f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def test_a_line_is_slowed_cut_and_silenced(echo):
    with TcpProxy(echo) as proxy:
        with line_to(proxy) as line:
            assert said(line, b"a" * 100_000) < 1.0
            proxy.delay_s = 0.1
            assert said(line, b"slow") >= 0.2
            proxy.delay_s = 0.0
            proxy.cut()
            with pytest.raises(ConnectionError):
                line.recv(1)
        with pytest.raises(ConnectionError), line_to(proxy) as line:  # it may be reset before it stands
            line.recv(1)
        proxy.heal()
        with line_to(proxy) as patient, line_to(proxy) as leaves:
            assert said(patient, b"b") + said(leaves, b"c") < 1.0
            proxy.fall_silent()
            patient.sendall(b"kept")
            patient.settimeout(0.2)
            with pytest.raises(TimeoutError):
                patient.recv(4)
            leaves.sendall(bytes(1_000_000))  # more than a system keeps for a reader that does not read
            leaves.close()
            until(lambda: len(proxy.hung_up_s) == 1, 5.0, "who hung up is noticed")
            assert proxy.lines == 1
            proxy.heal()
            patient.settimeout(5.0)
            assert patient.recv(4) == b"kept"


def line_to(proxy: TcpProxy) -> socket.socket:
    address = urlsplit(proxy.url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=5)


def said(line: socket.socket, what: bytes) -> float:
    """Seconds until all of it has come back."""
    began_s, heard = time.monotonic(), b""
    line.sendall(what)
    while len(heard) < len(what):
        heard += line.recv(65_536)
    assert heard == what
    return time.monotonic() - began_s


def ignoring_ends(act, *arguments: object) -> None:
    try:
        act(*arguments)
    except OSError:
        return


def tried(mono_s: float) -> Seen:
    return Seen(mono_s, "/api/v2/write?bucket=b", 429, 1)


def a_moment_later(request: Request) -> Request | None:
    """The same points, 1 ms later."""
    if not request.is_write:
        return None
    later = re.compile(rb" (\d+)$", re.MULTILINE).sub(lambda at: b" %d" % (int(at[1]) + 10**6), request.text())
    return request.with_text(later)


def stage_of(open_it) -> SimpleNamespace:
    return SimpleNamespace(opened=lambda: closing(open_it()))


def street_of(folder, acked: str, sent: str, dropped: str) -> SimpleNamespace:
    files = {}
    for name, ranges in (("acked", acked), ("sent", sent), ("dropped", dropped)):
        files[name] = folder / f"{name}.csv"
        files[name].write_text(f"jn-01,pile-01,boot,{ranges}\n" if ranges else "")
    return SimpleNamespace(**files)
