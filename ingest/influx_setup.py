"""Floor 3 · What an InfluxDB needs before the first batch: three buckets, and how long the raw one keeps its rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.bucket import Bucket
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.rest import ApiException

from ingest.influx_http import ANSWER_MS, CONNECT_MS, NOT_REACHED, is_no_org, no_influxdb, no_org, no_tls, said_by
from ingest.influx_reads import Buckets
from ingest.store import StoreUnusable

DAY_S = 86_400
LOOK_MS = 3_000


def prepare(url: str, token: str, *, org: str, prefix: str, retention_days: int) -> list[str]:
    """Make the buckets that are missing, and set how long raw rows are kept (0 days: for ever).

    Returns a line for each thing that was done. Raises StoreUnusable, in one line, when it cannot be.
    """
    with _asking(url, token, org) as client:
        return list(_prepare(client, url, org, Buckets(prefix), retention_days))


def look(url: str, token: str, *, org: str, prefix: str) -> dict[str, int | None]:
    """How many seconds each of our buckets keeps its rows, the raw one first: 0 for ever, None where it is missing.

    Raises StoreUnusable as `prepare` does. Takes no more than a few seconds.
    """
    with _asking(url, token, org, LOOK_MS) as client:
        found = {name: _bucket(client, org, name) for name in Buckets(prefix)}
        return {name: None if bucket is None else _kept_s(bucket) for name, bucket in found.items()}


class NoInfluxDB(StoreUnusable):
    """What answers at the address is something else, so nothing may be given to it."""


@contextmanager
def _asking(url: str, token: str, org: str, within_ms: int = CONNECT_MS) -> Iterator[InfluxDBClient]:
    """A client whose failures are StoreUnusable, in one line."""
    within = (within_ms, min(3 * within_ms, ANSWER_MS))
    try:
        with InfluxDBClient(url.rstrip("/"), token, org=org, timeout=within, retries=False) as client:
            yield client
    except ApiException as error:
        raise StoreUnusable(_why(url, org, error)) from None
    except NOT_REACHED as error:
        raise StoreUnusable(
            f"InfluxDB does not answer at {url} ({said_by(error)}): start it, or mend LUNCHONG_INFLUX_URL"
        ) from None


def _prepare(client: InfluxDBClient, url: str, org: str, buckets: Buckets, retention_days: int) -> Iterator[str]:
    api = client.buckets_api()
    for name in buckets:
        wanted_s = retention_days * DAY_S if name == buckets.raw else 0
        bucket = _bucket(client, org, name)
        if bucket is None:
            rule = BucketRetentionRules(type="expire", every_seconds=wanted_s)
            known = client.organizations_api().find_organizations(org=org)
            if not known:  # a token for buckets that are there needs to see none
                raise StoreUnusable(f"InfluxDB at {url} {no_org(org)}")
            api.create_bucket(bucket_name=name, retention_rules=rule, org=known[0].id)
            yield f"made bucket {name}, which keeps its rows {_kept(wanted_s)}"
            continue
        kept_s = _kept_s(bucket)
        if kept_s != wanted_s:
            bucket.retention_rules = [BucketRetentionRules(type="expire", every_seconds=wanted_s)]
            api.update_bucket(bucket)
            yield f"bucket {name} keeps its rows {_kept(wanted_s)} now, instead of {_kept(kept_s)}"


def _bucket(client: InfluxDBClient, org: str, name: str) -> Bucket | None:
    try:
        found: list[Bucket] | None = client.buckets_api().find_buckets(org=org, name=name).buckets
    except ApiException as error:
        if error.status != 404 or is_no_org(error):
            raise
        if not said_by(error).startswith("bucket "):
            raise NoInfluxDB(no_influxdb(client.url)) from None
        return None
    if found is None:  # the client makes an answer of any page
        raise NoInfluxDB(no_influxdb(client.url))
    return found[0] if found else None


def _kept_s(bucket: Bucket) -> int:
    return next((int(rule.every_seconds) for rule in bucket.retention_rules), 0)


def _kept(seconds: int) -> str:
    return "for ever" if seconds == 0 else f"for {seconds / DAY_S:g} days"


def _why(url: str, org: str, error: ApiException) -> str:
    if error.status in (401, 403):
        return (
            f"InfluxDB at {url} refuses the token ({error.status}): LUNCHONG_INFLUX_TOKEN must be one that may read and"
            f" write buckets of organisation {org!r}"
        )
    if error.status == 404:
        return f"InfluxDB at {url} {no_org(org)}"
    if not error.status:
        return f"InfluxDB at {url} {no_tls(error)}"
    return f"InfluxDB at {url} answers {error.status}: {said_by(error)}"
