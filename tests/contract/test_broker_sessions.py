"""What a broker keeps for those who are away, and what it sends again: one suite over both brokers."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ingest.credentials import MAX_ACK_PENDING
from tests.brokers import DEVICES, WITNESS, Broker, Client, Nats, until

ROOT = "lunchong/v1"
ME = f"{ROOT}/{DEVICES[0]}"
TELEMETRY = f"{ROOT}/+/+/telemetry"
INGEST = "service/ingest"


def ingest(broker: Broker, *, manual_ack: bool = False) -> Client:
    return Client(broker.url, INGEST, client_id="ingest-secret", keep_session=True, manual_ack=manual_ack)


def test_who_comes_later_hears_the_retained_state_marked_as_such(broker: Broker):
    with Client(broker.url, INGEST) as speaker:
        speaker.publish(f"{ME}/state", "old", retain=True)
        speaker.publish(f"{ME}/state", "new", retain=True)
    with Client(broker.url, "board") as reader:
        reader.subscribe(f"{ROOT}/+/+/state")
        assert reader.payloads(1) == ["new"]
        assert reader.heard[0].retained


def test_a_state_cleared_by_an_empty_payload_is_gone(broker: Broker):
    with Client(broker.url, INGEST) as speaker, Client(broker.url, "board") as reader:
        speaker.publish(f"{ME}/state", "there", retain=True)
        speaker.publish(f"{ME}/state", "", retain=True)
        reader.subscribe(f"{ROOT}/+/+/state")
        speaker.publish(f"{ME}/session", "that was all")
        reader.subscribe(f"{ROOT}/+/+/session")
        speaker.publish(f"{ME}/session", "that was all")
        assert "there" not in reader.payloads(1)


def test_a_will_speaks_after_an_unclean_death_and_not_after_a_goodbye(broker: Broker):
    with Client(broker.url, WITNESS) as witness:
        witness.subscribe(f"{ROOT}/+/+/status")
        with Client(broker.url, DEVICES[1], will=(f"{ROOT}/{DEVICES[1]}/status", "gone")) as polite:
            polite.publish(f"{ROOT}/{DEVICES[1]}/status", "here", retain=True)
        with Client(broker.url, DEVICES[0], will=(f"{ME}/status", "gone")) as device:
            device.publish(f"{ME}/status", "here", retain=True)
            device.vanish()
        assert witness.payloads(3) == ["here", "here", "gone"]
    with Client(broker.url, INGEST) as later:
        later.subscribe(f"{ROOT}/+/+/status")
        assert sorted(later.payloads(2)) == ["gone", "here"]


def test_a_device_that_falls_silent_is_declared_gone_by_its_keep_alive(broker: Broker):
    with (
        Client(broker.url, WITNESS) as witness,
        Client(broker.url, DEVICES[0], will=(f"{ME}/status", "gone"), keepalive_s=1) as device,
    ):
        witness.subscribe(f"{ME}/status")
        device.fall_silent()
        assert witness.payloads(1) == ["gone"]


def test_messages_wait_for_ingest_while_it_is_away(broker: Broker):
    with ingest(broker) as first:
        first.subscribe(TELEMETRY)
    with Client(broker.url, DEVICES[0]) as device:
        for n in range(50):
            device.publish(f"{ME}/telemetry", str(n))
    with ingest(broker) as second:
        assert second.payloads(50) == [str(n) for n in range(50)]


def test_what_ingest_did_not_acknowledge_comes_again_and_what_it_did_does_not(broker: Broker):
    with ingest(broker, manual_ack=True) as first, Client(broker.url, DEVICES[0]) as device:
        first.subscribe(TELEMETRY)
        for n in range(4):
            device.publish(f"{ME}/telemetry", str(n))
        first.payloads(4)
        first.acknowledge(first.heard[1])
        first.acknowledge(first.heard[2])
        device.publish(f"{ME}/telemetry", "4")  # its arrival shows that the broker took the acknowledgements
        first.payloads(5)
        first.vanish()
    with ingest(broker, manual_ack=True) as second:
        assert sorted(set(second.payloads(3))) == ["0", "3", "4"]


def test_thousands_may_be_out_unacknowledged(broker: Broker):
    many = MAX_ACK_PENDING // 2
    with ingest(broker, manual_ack=True) as slow, Client(broker.url, DEVICES[0]) as device:
        slow.subscribe(TELEMETRY)
        device.burst(f"{ME}/telemetry", many)
        until(lambda: len({heard.payload for heard in slow.heard}) == many)


def test_ingest_may_hold_all_its_subscriptions_at_once(broker: Broker):
    with ingest(broker) as one:
        for leaf in ("telemetry", "status", "cmd/result", "state", "turns"):
            assert one.subscribe(f"{ROOT}/+/+/{leaf}") == 1
        assert one.subscribe(f"{ROOT}/service/+") == 1


def test_a_ninth_subscription_at_qos_1_is_refused_by_the_embedded_broker_and_a_wildcard_is_one(nats: Nats):
    each = [f"{ROOT}/jn-01/{device}/{leaf}" for device in ("a", "b", "c") for leaf in ("ack", "cmd", "turns")]
    with Client(nats.url, "jn-01/+") as gateway:
        assert [gateway.subscribe(topic) for topic in each] == [1] * 8 + [128]
    with Client(nats.url, "jn-01/+") as gateway:
        assert [gateway.subscribe(f"{ROOT}/jn-01/+/{leaf}") for leaf in ("ack", "cmd", "turns")] == [1] * 3


def test_a_payload_of_1_mib_passes_and_2_mib_do_not(broker: Broker):
    with Client(broker.url, WITNESS) as witness:
        witness.subscribe(f"{ME}/telemetry")
        with Client(broker.url, DEVICES[0]) as device:
            device.publish(f"{ME}/telemetry", "x" * 1024 * 1024)
        with Client(broker.url, DEVICES[0]) as device:
            device.publish(f"{ME}/telemetry", "x" * 2 * 1024 * 1024)
        with Client(broker.url, DEVICES[0]) as device:
            device.publish(f"{ME}/telemetry", "after")
        assert [len(payload) for payload in witness.payloads(2)] == [1024 * 1024, 5]


def test_retained_messages_and_what_waits_survive_a_killed_embedded_broker(nats: Nats):
    """What it has written: it acknowledges a moment before that, which is why devices wait for `ack`."""
    with ingest(nats) as away:
        away.subscribe(TELEMETRY)
        away.publish(f"{ME}/state", "kept", retain=True)
    waiting = [f"message {n}" for n in range(200)]
    with Client(nats.url, DEVICES[0]) as device:
        for text in waiting:
            device.publish(f"{ME}/telemetry", text)
    until(lambda: all(nats.has_written(text) for text in ("ingest-secret", f"{DEVICES[0]}/state", waiting[-1])))
    nats.kill()
    until(lambda: _retained(nats) == ["kept"])
    with ingest(nats) as back:
        assert back.payloads(200) == waiting


def _retained(nats: Nats) -> list[str]:
    """What a reader who comes now is given; one that comes while the broker still reads its memory is given nothing."""
    with Client(nats.url, "board") as reader, suppress(AssertionError):
        reader.subscribe(f"{ROOT}/+/+/state")
        return reader.payloads(1, within_s=2.0)
    return []


@pytest.mark.parametrize("nonsense", [b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\xff\xff", b"\x00" * 64])
def test_nonsense_on_the_port_harms_nobody(shared_broker: Broker, nonsense: bytes):
    with Client(shared_broker.url, DEVICES[0]) as device, Client(shared_broker.url, WITNESS) as witness:
        witness.subscribe(f"{ME}/telemetry")
        Client.raw(shared_broker.url, nonsense)
        device.publish(f"{ME}/telemetry", "undisturbed")
        assert witness.payloads(1) == ["undisturbed"]
