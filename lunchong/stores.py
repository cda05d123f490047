"""The store of facts that the settings name: opened here, and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from ingest.clock import rfc3339
from ingest.store import StoreUnusable, TelemetryStore
from lunchong.errors import UsageError, UserError
from lunchong.settings import PREFIX, Settings

log = logging.getLogger(__name__)

DUCKDB_FILE = "facts.duckdb"
DAY_S = 86_400


def open_store(settings: Settings) -> TelemetryStore:
    """DuckDB's file in the data folder, or a client of InfluxDB, which is not asked for anything yet.

    Raises StoreUnusable, in one line, for a file that cannot be used.
    """
    if settings.store == "duckdb":
        from ingest.store_duckdb import DuckStore

        return DuckStore(duckdb_file(settings), settings.timezone)
    from ingest.store_influx import InfluxStore

    url, token = influx_address(settings)
    return InfluxStore(url, token, org=settings.influx_org, prefix=settings.influx_bucket, timezone=settings.timezone)


def prepare_store(settings: Settings) -> list[str]:
    """Make what the store needs before its first use; a line for each thing that was done. Raises UserError."""
    if settings.store == "duckdb":
        return []
    return _prepare(settings, settings.retention_days)


def prepare_for_any_time(settings: Settings) -> list[str]:
    """The same for a place that lives on a time of its own: a bucket of InfluxDB that is new keeps its rows for ever,
    since its server counts days by the wall, and one that is there stays as it is. Ingest lets old rows go."""
    if settings.store == "duckdb":
        return []
    kept_s = found_buckets(settings)[settings.influx_bucket]
    return _prepare(settings, (kept_s or 0) // DAY_S)


def check_store(settings: Settings) -> None:
    """Raise UserError where InfluxDB lacks a bucket of ours, lets go of what shall be kept, or is none; one that is
    away, or refuses us, is waited for later."""
    if settings.store == "duckdb":
        return
    try:
        found = found_buckets(settings)
    except UsageError:
        raise
    except UserError as error:
        log.warning("%s; readings wait in the spool until it takes them", error)
        return
    if wrong := what_init_mends(settings, found):
        raise UserError(f"{wrong}: run `lunchong init` with these settings")


def what_init_mends(settings: Settings, found: Mapping[str, int | None]) -> str | None:
    """Why nothing can be kept in these buckets, in a line; None when it can."""
    if missing := [name for name, kept_s in found.items() if kept_s is None]:
        return f"InfluxDB at {settings.influx_url} has no bucket {', '.join(missing)}"
    for name, kept_s in found.items():
        if kept_s and name != settings.influx_bucket:
            return f"bucket {name} keeps its rows for {kept_s / DAY_S:g} days and must keep them for ever"
    return None


def check_store_keeps(settings: Settings, oldest_ms: int, now_ms: int) -> None:
    """Raise UsageError where InfluxDB would refuse points as old as `oldest_ms`."""
    if settings.store == "duckdb":
        return
    kept_s = found_buckets(settings)[settings.influx_bucket]
    if kept_s and oldest_ms < now_ms - kept_s * 1_000:
        raise UsageError(
            f"bucket {settings.influx_bucket} keeps its rows for {kept_s / DAY_S:g} days, and these begin on"
            f" {rfc3339(oldest_ms)[:10]}: set {PREFIX}RETENTION_DAYS=0 and run `lunchong init`"
        )


def check_store_is_empty(settings: Settings) -> None:
    """Raise UsageError where InfluxDB's buckets hold sessions; a file of DuckDB is the data folder's matter."""
    if settings.store == "duckdb":
        return
    with closing(open_store(settings)) as store:
        if store.sessions(limit=1).items:
            raise UsageError(
                f"bucket {settings.influx_bucket} belongs to another installation: name others in {PREFIX}INFLUX_BUCKET"
            )


def _prepare(settings: Settings, retention_days: int) -> list[str]:
    from ingest.influx_setup import prepare

    url, token = influx_address(settings)
    with _said_to_users():
        return prepare(
            url, token, org=settings.influx_org, prefix=settings.influx_bucket, retention_days=retention_days
        )


def found_buckets(settings: Settings) -> dict[str, int | None]:
    """How many seconds each bucket keeps its rows: 0 for ever, None where it is missing. Raises UserError, and
    UsageError where the address is not that of an InfluxDB."""
    from ingest.influx_setup import look

    url, token = influx_address(settings)
    with _said_to_users():
        return look(url, token, org=settings.influx_org, prefix=settings.influx_bucket)


@contextmanager
def _said_to_users() -> Iterator[None]:
    """A store that cannot be used is a UserError; one that is none, by its address, a UsageError."""
    from ingest.influx_setup import NoInfluxDB

    try:
        yield
    except NoInfluxDB as error:
        raise UsageError(str(error)) from None
    except StoreUnusable as error:
        raise UserError(str(error)) from None


def duckdb_file(settings: Settings) -> Path:
    return settings.data_dir / DUCKDB_FILE


def influx_address(settings: Settings) -> tuple[str, str]:
    """URL and token, which the settings have wherever they name InfluxDB."""
    assert settings.influx_url
    assert settings.influx_token
    return settings.influx_url, settings.influx_token
