"""The store of facts that the settings name: opened here, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from ingest.store import StoreUnusable, TelemetryStore
from lunchong.errors import UserError
from lunchong.settings import Settings

DUCKDB_FILE = "facts.duckdb"


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


def prepare_store(settings: Settings, *, retention_days: int) -> list[str]:
    """Make what the store needs before its first use; a line for each thing. Raises UserError."""
    if settings.store == "duckdb":
        return []
    from ingest.influx_setup import prepare

    url, token = influx_address(settings)
    try:
        return prepare(
            url, token, org=settings.influx_org, prefix=settings.influx_bucket, retention_days=retention_days
        )
    except StoreUnusable as error:
        raise UserError(str(error)) from None


def duckdb_file(settings: Settings) -> Path:
    return settings.data_dir / DUCKDB_FILE


def influx_address(settings: Settings) -> tuple[str, str]:
    """URL and token, which the settings have wherever they name InfluxDB."""
    assert settings.influx_url
    assert settings.influx_token
    return settings.influx_url, settings.influx_token
