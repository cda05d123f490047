"""Notices are posted to a program of the operator's: what it answers decides whether they are sent again."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from scheduler import turns
from scheduler.explain import Said
from scheduler.post import NotDelivered, Unsure
from scheduler.postings import notice
from scheduler.webhook import Webhook
from tests.brokers import free_port
from tests.ledgers import NO_QUIET, a_place, a_turn
from tests.stores import NINE_MS

OFFER = turns.offered(turns.planned(a_turn(call="blue heron 3"), a_place()), a_place(), NINE_MS, NO_QUIET)


@contextmanager
def answering(status):
    """A server that answers with that, and what it was sent; with None it takes the request and hangs up."""
    came = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if status is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_said):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/notices?token=secret", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def post(url, what="offer", turn=OFFER, why=None):
    item = notice(turn, what, why=why)
    Webhook(url, "Asia/Shanghai")(item, msgspec.json.decode(item.body, type=Said), turn)
    return item


def test_a_notice_is_posted_with_its_id_and_in_both_languages():
    with answering(204) as (url, came):
        item = post(url)
    [said] = came
    assert said["text"]["en"].startswith(
        "There is a place for you: jn-01/pile-01/1, from 22 Nov 17:00 to 22 Nov 18:00."
    )
    assert said["text"]["zh"].startswith("有位置了：jn-01/pile-01/1")
    del said["text"]
    assert said == {
        "id": item.id, "what": "offer", "turn": OFFER.id, "household": OFFER.household, "site": "jn-01",
    }  # fmt: skip


def test_why_a_place_was_taken_away_is_said():
    with answering(200) as (url, came):
        post(url, "withdrawn", turns.withdrawn(OFFER), why="BROKEN_CHARGER")
    assert "because the pile is broken" in came[0]["text"]["en"]


def test_a_notice_that_is_no_longer_so_has_no_text():
    with answering(200) as (url, came):
        post(url, "offer", turns.withdrawn(OFFER))
    assert came[0]["text"] == {}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_a_busy_program_did_not_take_may_be_sent_again(status):
    with answering(status) as (url, _), pytest.raises(NotDelivered, match=str(status)):
        post(url)


def test_where_nobody_listens_it_may_be_sent_again():
    with pytest.raises(NotDelivered):
        post(f"http://127.0.0.1:{free_port()}/")


@pytest.mark.parametrize("status", [301, 307, 400, 404, None])
def test_what_was_refused_sent_elsewhere_or_cut_off_is_not_sent_again(status):
    with answering(status) as (url, _), pytest.raises(Unsure):
        post(url)
