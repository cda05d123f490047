"""MQTT packets as bytes: whole ones come out of any pieces, and nonsense is said to be nonsense."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.packets import MalformedPacket, PacketBuffer, pubacks, publish, read_publish

LIMIT = 300_000

topics = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
messages = st.lists(st.tuples(topics, st.binary(max_size=400), st.booleans(), st.integers(0, 65_535)), max_size=20)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(messages, st.lists(st.integers(0, 10_000), max_size=30))
def test_what_is_written_is_read_again_in_whatever_pieces_it_comes(sent, cuts):
    buffer = PacketBuffer(LIMIT)
    stream = b"".join(publish(topic, payload, retain=retain, packet_id=mid) for topic, payload, retain, mid in sent)
    packets = [packet for piece in in_pieces(stream, cuts) for packet in buffer.feed(piece)]
    read = [read_publish(*packet) for packet in packets]
    assert read == [(topic, payload, int(mid > 0), retain, mid) for topic, payload, retain, mid in sent]


@pytest.mark.parametrize("size", [0, 118, 119, 16_373, 16_374, 250_000])
def test_lengths_of_one_to_three_bytes_are_read(size):
    packet = publish("seven77", b"x" * size)
    buffer = PacketBuffer(LIMIT)
    halves = [*buffer.feed(packet[:3]), *buffer.feed(packet[3:])]
    assert [len(read_publish(*half)[1]) for half in halves] == [size]


def test_a_publish_at_qos_1_carries_its_packet_id():
    assert read_publish(0x33, b"\x00\x03a/b\x01\x02payload") == ("a/b", b"payload", 1, True, 258)


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x09short", b"\x00\x03a/b\x01"])
def test_a_publish_that_ends_too_early_is_malformed(body):
    with pytest.raises(MalformedPacket):
        read_publish(0x32, body)


def test_a_topic_that_is_no_text_is_malformed():
    with pytest.raises(MalformedPacket, match="UTF-8"):
        read_publish(0x30, b"\x00\x02\xff\xfe")


@pytest.mark.parametrize("data", [b"\x30\xff\xff\xff\xff\x01", b"\x30\xff\xff\xff\x7f", b"\x30\xff\xff\xff\xff"])
def test_a_length_beyond_the_limit_is_refused_before_it_is_waited_for(data):
    with pytest.raises(MalformedPacket):
        PacketBuffer(LIMIT).feed(data)


def test_acknowledgements_are_four_bytes_each():
    assert pubacks([1, 65_535]) == b"\x40\x02\x00\x01\x40\x02\xff\xff"
