"""What goes wrong on purpose goes wrong as asked, and takes nothing real with it."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec
import pytest

from ingest.codec import decode_telemetry
from simulators.mischief import NUMBERED, UNNUMBERED, Mischief, Shares, parse

GOOD = b'{"v":1,"boot":"b","seq":1,"ts":"2026-11-22T04:05:06.250Z","kind":"smoke","alarm":false}'


def mischief(**shares) -> Mischief:
    return Mischief(Shares(**shares), Random(1))


def test_shares_are_read_from_a_spec():
    assert parse("duplicate=0.01, garbage=0.5") == Shares(duplicate=0.01, garbage=0.5)
    assert parse("") == Shares()


@pytest.mark.parametrize("spec", ["typo=0.1", "garbage=2", "garbage=-1", "garbage=many", "garbage", "garbage=nan"])
def test_a_spec_that_is_none_says_what_is_wrong(spec):
    with pytest.raises(ValueError, match=r"is no fault|says no share"):
        parse(spec)


def test_without_faults_what_goes_in_comes_out():
    assert mischief().publish("a/b", [GOOD, b"2"]) == [GOOD, b"2"]


def test_duplicates_follow_their_originals():
    assert mischief(duplicate=1.0).publish("a/b", [b"1", b"2"]) == [b"1", b"1", b"2", b"2"]


def test_reordered_payloads_come_after_later_ones_and_none_is_kept_for_ever():
    it = mischief(reorder=0.3)
    sent = [str(n).encode() for n in range(200)]
    out = [payload for one in sent for payload in it.publish("a/b", [one])]
    out += [payload for _, payload in it.end()]
    assert out != sent
    assert sorted(out) == sorted(sent)


def test_every_piece_of_garbage_is_refused_once_with_a_reason_and_under_no_real_boot():
    it = mischief(garbage=1.0)
    reasons: Counter[str] = Counter()
    pieces = []
    for n in range(1_500):
        good, garbage = it.publish(f"jn-01/pile-{n % 3}", [GOOD])
        assert good == GOOD
        pieces.append(garbage)
        messages, refused = decode_telemetry(garbage)
        if messages:  # well-formed, but of a connector that no pile has: refused by the inventory
            assert msgspec.json.decode(garbage)["connector"] == 63
            continue
        assert len(refused) == 1
        assert refused[0].boot is None or refused[0].boot.startswith("garbage-")
        reasons[refused[0].reason.split(":")[0]] += 1
    assert it.garbage == 1_500
    assert set(reasons) == {"not_json", "bad_envelope", "too_large", "unknown_kind", "bad_field"}


def test_no_two_pieces_of_garbage_have_the_same_bytes_even_when_cut_to_what_is_kept():
    it = mischief(garbage=1.0)
    pieces = [it.publish(f"jn-01/pile-{n % 50}", [GOOD])[1][: 256 * 1024] for n in range(2_000)]
    assert len(set(pieces)) == len(pieces)


def test_garbage_of_two_runs_is_different():
    assert mischief(garbage=1.0)._run != Mischief(Shares(), Random(2))._run
    assert len(NUMBERED) + len(UNNUMBERED) >= 35


def test_garbage_that_can_be_numbered_leaves_no_hole():
    it = mischief(garbage=1.0)
    seqs = []
    for _ in range(300):
        for refused in decode_telemetry(it.publish("jn-01/pile-1", [GOOD])[1])[1]:
            seqs += [refused.seq] if refused.boot and refused.seq else []
    connectors = [n for n in range(1, seqs[-1]) if n not in seqs]  # those of a connector that no pile has decode well
    assert seqs == sorted(set(seqs))
    assert len(connectors) < len(seqs) / 5
