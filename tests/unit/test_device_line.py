"""The bytes that a simulated device speaks: what a broker must be able to read, and what it may answer."""

from __future__ import annotations

import pytest

from ingest.packets import MalformedPacket, PacketBuffer, read_publish
from simulators.device_line import DeviceLine, Message, Subscribed, Taken, Welcomed


def test_a_publish_is_read_back_whole_also_when_it_is_large():
    line = DeviceLine()
    for payload in (b"", b"x" * 200, b"y" * 300_000):
        [(first, body)] = PacketBuffer(1 << 20).feed(line.publish(b"a/b", payload, retain=True))
        topic, read, qos, retained, _ = read_publish(first, body)
        assert (topic, read, qos, retained) == ("a/b", payload, 1, True)


def test_a_connect_says_who_and_what_its_will_is():
    sent = DeviceLine().connect("id", "jn-01/p", "pw", will_topic="t", will=b"gone", keepalive_s=30)
    [(first, body)] = PacketBuffer(1 << 20).feed(sent)
    assert first == 0x10
    assert body == (b"\x00\x04MQTT\x04\xee\x00\x1e\x00\x02id\x00\x01t\x00\x04gone\x00\x07jn-01/p\x00\x02pw")


def test_without_a_user_the_flags_say_so():
    [(_, body)] = PacketBuffer(99).feed(DeviceLine().connect("i", None, None, will_topic="t", will=b"", keepalive_s=1))
    assert body[7] == 0x2E


def test_answers_are_understood_byte_by_byte():
    line = DeviceLine()
    line.publish(b"a", b"1")
    message = b"\x30\x05\x00\x01thi"
    answers = b"\x20\x02\x00\x00" + b"\x90\x03\x00\x01\x01" + message + b"\x40\x02\x00\x01" + b"\xd0\x00"
    events = [event for byte in answers for event in line.received(bytes([byte]))[0]]
    assert events == [Welcomed(None), Subscribed(refused=False), Message("t", b"hi"), Taken(1)]
    assert not line.untaken


def test_what_comes_at_qos_1_is_acknowledged():
    assert DeviceLine().received(b"\x32\x06\x00\x01t\x00\x07x") == ([Message("t", b"x")], b"\x40\x02\x00\x07")


def test_refusals_say_why():
    [welcome] = DeviceLine().received(b"\x20\x02\x00\x04")[0]
    assert welcome == Welcomed("bad user name or password")
    assert DeviceLine().received(b"\x90\x04\x00\x01\x00\x80")[0] == [Subscribed(refused=True)]


@pytest.mark.parametrize("noise", [b"\x30\xff\xff\xff\xff\xff", b"\x20\x01\x00", b"\x30\x02\x00\x09"])
def test_what_is_no_mqtt_ends_the_line(noise):
    with pytest.raises(MalformedPacket):
        DeviceLine().received(noise)


def test_packet_ids_are_not_used_twice_while_the_broker_has_not_taken_them():
    line = DeviceLine()
    for _ in range(100):
        line.publish(b"a", b"")
    assert line.untaken == set(range(1, 101))
    line.received(b"\x40\x02\x00\x05")
    line._packet_id = 65_535
    line.publish(b"a", b"")
    assert 5 in line.untaken
