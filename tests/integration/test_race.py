"""Many want the same buckets at once, in processes with threads: the short form of `make bench-race`."""

from __future__ import annotations

import pytest

from benchmarks.race import measure


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}"


def test_no_bucket_is_promised_twice_and_nothing_is_passed_and_without_the_guard_it_is(url):
    found = measure(url, attempts=1_500, processes=2)
    assert found["promised"] > 100
    assert found["refused"] > 100
    assert found["looks"] > 1
    never = ("doubles", "power_passed", "quota_passed", "orphans", "miscounted")
    assert {name: found[name] for name in never} == dict.fromkeys(never, 0)
    assert found["doubles_without_guard"] >= 1
