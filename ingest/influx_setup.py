"""Floor 3 · What an InfluxDB needs before the first batch: three buckets, and how long the raw one keeps its rows."""

from __future__ import annotations

from collections.abc import Iterator

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.rest import ApiException

from ingest.influx_http import ANSWER_MS, CONNECT_MS, NOT_REACHED, said_by
from ingest.influx_reads import Buckets
from ingest.store import StoreUnusable

DAY_S = 86_400


def prepare(url: str, token: str, *, org: str, prefix: str, retention_days: int) -> list[str]:
    """Make the buckets that are missing, and set how long raw rows are kept (0 days: for ever).

    Returns a line for each thing that was done. Raises StoreUnusable, in one line, when it cannot be.
    """
    try:
        return list(_prepare(url.rstrip("/"), token, org, Buckets(prefix), retention_days))
    except ApiException as error:
        raise StoreUnusable(_why(url, org, error)) from None
    except NOT_REACHED as error:
        raise StoreUnusable(
            f"InfluxDB does not answer at {url} ({said_by(error)}): start it, or mend LUNCHONG_INFLUX_URL"
        ) from None


def _prepare(url: str, token: str, org: str, buckets: Buckets, retention_days: int) -> Iterator[str]:
    with InfluxDBClient(url, token, org=org, timeout=(CONNECT_MS, ANSWER_MS), retries=False) as client:
        api = client.buckets_api()
        known = client.organizations_api().find_organizations(org=org)
        if not known:
            raise StoreUnusable(_no_org(url, org))
        for name in buckets:
            wanted_s = retention_days * DAY_S if name == buckets.raw else 0
            bucket = api.find_bucket_by_name(name)
            if bucket is None:
                rule = BucketRetentionRules(type="expire", every_seconds=wanted_s)
                api.create_bucket(bucket_name=name, retention_rules=rule, org=known[0].id)
                yield f"made bucket {name}, which keeps its rows {_kept(wanted_s)}"
                continue
            kept_s = next((rule.every_seconds for rule in bucket.retention_rules), 0)
            if kept_s != wanted_s:
                bucket.retention_rules = [BucketRetentionRules(type="expire", every_seconds=wanted_s)]
                api.update_bucket(bucket)
                yield f"bucket {name} keeps its rows {_kept(wanted_s)} now, instead of {_kept(kept_s)}"


def _kept(seconds: int) -> str:
    return "for ever" if seconds == 0 else f"for {seconds / DAY_S:g} days"


def _no_org(url: str, org: str) -> str:
    return (
        f"InfluxDB at {url} has no organisation {org!r} for our token: make it, or name another in LUNCHONG_INFLUX_ORG"
    )


def _why(url: str, org: str, error: ApiException) -> str:
    if error.status in (401, 403):
        return (
            f"InfluxDB at {url} refuses the token ({error.status}): LUNCHONG_INFLUX_TOKEN must be one that may read and"
            f" write buckets of organisation {org!r}"
        )
    if error.status == 404:
        return _no_org(url, org)
    return f"InfluxDB at {url} answers {error.status}: {said_by(error)}"
