"""The API's own line to the bus: what it hears, and how a command comes back. Over every broker."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from api.board import Board, Now
from api.context import SHANGHAI
from api.feed import Feed
from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from ingest.messages import Show
from ingest.workdays import is_workday
from tests.boards import NINE_MS
from tests.brokers import Client, password_of, until

PILE = "jn-01/pile-1"
INGEST = "service/ingest"
INVENTORY = Inventory(
    sites={"jn-01": Site(id="jn-01", name=Name("江宁", "Jiangning"), lat=31.2, lon=121.4)},
    devices={PILE: Device(site="jn-01", id="pile-1", kind="pile", connectors=(ConnectorSpec(1),))},
)
COMMAND = Show(v=1, id="c-1", epoch=0, ttl_s=60, text="hello")


def state(rev, connector_state="available"):
    at = "2026-11-23T01:00:00.000Z"
    connector = {"connector": 1, "state": connector_state, "since": at, "observed_at": at}
    return json.dumps(
        {"v": 1, "rev": rev, "site": "jn-01", "device": "pile-1", "kind": "pile", "ts": at, "observed_at": at,
         "online": True, "interval_s": 60, "connectors": [connector], "conditions": []}
    )  # fmt: skip


@pytest.fixture
def board():
    return Board(SHANGHAI, is_workday)


@pytest.fixture
def feed(shared_broker, board):
    with Client(shared_broker.url, INGEST) as ingest:
        ingest.publish("lunchong/v1/service/ingest", '{"v":1,"online":true,"accepting":true}', retain=True)
        ingest.publish(f"lunchong/v1/{PILE}/state", state(1), retain=True)
    name = "service/api"
    line = Feed(
        board,
        shared_broker.url,
        client_id=f"api-{id(board)}",
        username=name,
        password=password_of(name),
    )
    line.start()
    yield line
    line.stop()


def status(board):
    [connector] = board.look(INVENTORY, Now(NINE_MS)).sites["jn-01"].connectors
    return connector.status


def test_the_board_fills_from_what_the_bus_retains_and_follows_what_is_said(shared_broker, board, feed):
    until(lambda: status(board) == "AVAILABLE")
    with Client(shared_broker.url, INGEST) as ingest:
        ingest.publish(f"lunchong/v1/{PILE}/state", state(2, "charging"), retain=True)
        until(lambda: status(board) == "CHARGING")
        ingest.publish("lunchong/v1/service/ingest", '{"v":1,"online":false}', retain=True)
        until(lambda: status(board) == "UNKNOWN")


def test_a_board_that_left_the_bus_believes_nothing(board, feed):
    until(lambda: status(board) == "AVAILABLE")
    feed.stop()
    assert status(board) == "UNKNOWN"


def test_a_command_reaches_the_device_and_its_answer_the_asker(shared_broker, board, feed):
    until(lambda: board.linked)
    with Client(shared_broker.url, PILE) as device:
        device.subscribe(f"lunchong/v1/{PILE}/cmd")
        answering = threading.Thread(target=answer, args=(device,))
        answering.start()
        result = asyncio.run(feed.send(PILE, COMMAND, timeout_s=8))
        answering.join()
    assert result is not None
    assert (result.id, result.result, result.reason) == ("c-1", "rejected", "busy")


def answer(device):
    """Say something unreadable, an answer to another question, and then the answer."""
    [command] = [json.loads(payload) for payload in device.payloads(1)]
    device.publish(f"lunchong/v1/{PILE}/cmd/result", "no json")
    device.publish(f"lunchong/v1/{PILE}/cmd/result", '{"v":1,"id":"c-0","result":"accepted"}')
    said = {"v": 1, "id": command["id"], "result": "rejected", "reason": "busy"}
    device.publish(f"lunchong/v1/{PILE}/cmd/result", json.dumps(said))


def test_a_device_that_does_not_answer_is_not_waited_for_long(board, feed):
    until(lambda: board.linked)
    assert asyncio.run(feed.send(PILE, COMMAND, timeout_s=0.05)) is None
