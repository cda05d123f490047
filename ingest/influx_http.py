"""Floor 3 · Calls of one InfluxDB server by influxdb-client, each tried once, and what its answers mean."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any

from influxdb_client.client.delete_api import DeleteApi
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.query_api import QueryApi
from influxdb_client.domain.dialect import Dialect
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from ingest.store import StoreUnavailable

LINES_AT_ONCE = 5_000
WRITTEN = 204
CONNECT_MS = 10_000
ANSWER_MS = 30_000
LONGEST_WAIT_S = 300.0
"""However long the server tells us to wait, after this it is asked again."""

FIRST_NS = 0
LAST_NS = 7_258_118_400_000_000_000
"""1970 up to 2200, in which all effective times lie."""

_DIALECT = Dialect(header=True, delimiter=",", comment_prefix="#", annotations=[], date_time_format="RFC3339")
csv.field_size_limit(16 * 1024 * 1024)  # a dead letter's payload comes in one field
NOT_REACHED = (HTTPError, HTTPException, OSError)

Param = str | int | float | bool | timedelta


PLAIN = '  |> drop(columns: ["_start", "_stop", "_measurement"])\n'
OF_DEVICE = "  |> filter(fn: (r) => r.site == wanted_site and r.device == wanted_device)\n"
"""Parts of scripts that several ask with."""


def in_bucket(bucket: str, first_ns: int = FIRST_NS, last_ns: int = LAST_NS) -> dict[str, Param]:
    """The parameters that every script takes: where, and the times asked of, the last one left out."""
    return {"bucket": bucket, "first_ns": first_ns, "last_ns": last_ns}


class PointRefused(Exception):
    """400 or 422: something in the body is wrong; of a body of several lines, others may be stored. `at_ms` is the
    server's time of the answer, where it says so."""

    def __init__(self, why: str, at_ms: int | None) -> None:
        super().__init__(why)
        self.at_ms = at_ms


class TooLarge(Exception):
    """413: the body has more bytes than the server takes at once."""


class Influx:
    """One server and one organisation. Safe to call from several threads. Nothing is asked before the first call."""

    def __init__(self, url: str, token: str, org: str) -> None:
        self.url = url.rstrip("/")
        self.org = org
        self.ns = Times().ns
        self._closed = False
        self._client = InfluxDBClient(self.url, token, org=org, timeout=(CONNECT_MS, ANSWER_MS), retries=False)
        self._writes = WriteService(self._client.api_client)
        self._queries: QueryApi = self._client.query_api()
        self._deletes: DeleteApi = self._client.delete_api()

    def write(self, bucket: str, lines: Iterable[str]) -> None:
        """Store lines. Raises StoreUnavailable, PointRefused or TooLarge."""
        body = gzip.compress("\n".join(lines).encode(), 1, mtime=0)
        with _Call(self, f"bucket {bucket}", writing=True):
            _, status, _ = self._writes.post_write_with_http_info(
                self.org, bucket, body, content_encoding="gzip", precision=WritePrecision.NS,
                content_type="text/plain; charset=utf-8", accept="application/json",
            )  # fmt: skip
            if status != WRITTEN:  # a page that stands there says 200 to everything
                raise StoreUnavailable(f"{no_influxdb(self.url)}: it answers {status} to a write")

    def note(self, bucket: str, lines: Sequence[str]) -> None:
        """Store marks of our own, of which none can be given up. Raises StoreUnavailable."""
        for start in range(0, len(lines), LINES_AT_ONCE):
            try:
                self.write(bucket, lines[start : start + LINES_AT_ONCE])
            except (PointRefused, TooLarge) as refused:
                said = f"InfluxDB at {self.url} refuses our own marks in bucket {bucket}: {refused}"
                raise StoreUnavailable(f"{said}; `lunchong init` sets right how long a bucket keeps") from None

    def query(self, flux: str, columns: Sequence[str], params: Mapping[str, Param]) -> Iterator[list[str]]:
        """The rows that a script of ours answers, as they come: the text of `columns`, "" where a table has none such.

        What users named goes in `params`, which the server gets as values, never as a part of the script.
        Raises StoreUnavailable.
        """
        with _Call(self, "a query"):
            answer = self._queries.query_raw(flux, dialect=_DIALECT, params=dict(params))
            answer.auto_close = False  # else it is closed under the reader that has just read its end
            try:
                if not answer.headers.get("Content-Type", "").startswith("text/csv"):
                    raise StoreUnavailable(f"{no_influxdb(self.url)}: it answers a query with no table")
                yield from _rows(io.TextIOWrapper(answer, "utf-8", newline=""), columns, self.url)
            except BaseException:
                answer.close()  # a line with an answer half read is of no use to the next question
                raise
            finally:
                answer.release_conn()

    def delete(self, bucket: str, start_ns: int, stop_ns: int, predicate: str) -> None:
        """Delete points with start ≤ time ≤ stop. Raises StoreUnavailable."""
        with _Call(self, f"bucket {bucket}"):
            self._deletes.delete(when(start_ns), when(stop_ns), predicate, bucket, self.org)

    def close(self) -> None:
        self._closed = True
        self._client.close()

    def check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"InfluxDB at {self.url} is closed for this process")


class _Call:
    """From what may go wrong with a call to what the caller can do about it."""

    def __init__(self, influx: Influx, what: str, *, writing: bool = False) -> None:
        influx.check_open()
        self._influx, self._what, self._writing = influx, what, writing

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        where = f"InfluxDB at {self._influx.url}"
        if isinstance(error, ApiException):
            if self._writing and error.status in (400, 422):
                raise PointRefused(said_by(error), _date_ms(error)) from None
            if error.status == 413:
                raise TooLarge(f"{where} takes no body as large as that") from None
            raise StoreUnavailable(f"{where} {self._said(error)}", _retry_s(error)) from None
        if isinstance(error, csv.Error):
            raise StoreUnavailable(f"{where} gave an answer that cannot be read: {error}") from error
        if isinstance(error, NOT_REACHED):
            self._influx.check_open()
            raise StoreUnavailable(f"{where} does not answer: {said_by(error)}") from error

    def _said(self, error: ApiException) -> str:
        if is_no_org(error):
            return no_org(self._influx.org)
        if error.status in (401, 403):
            return (
                f"refuses our token ({error.status}): give it its rights back, or set another in LUNCHONG_INFLUX_TOKEN"
            )
        if error.status == 404:
            return f"has no such place ({said_by(error)}): run `lunchong init`"
        if not error.status:
            return no_tls(error)
        return f"answers {error.status} for {self._what}: {said_by(error)}"


def no_influxdb(url: str) -> str:
    return f"what answers at {url} is no InfluxDB 2: look at LUNCHONG_INFLUX_URL"


def no_tls(error: ApiException) -> str:
    """The client says status 0 where there was no answer, as no line could be made safe."""
    said = said_by(error)
    advice = "does this machine trust it?" if "CERTIFICATE" in said else "does the address begin with http:// ?"
    return f"does not answer ({said}): {advice}"


def is_no_org(error: ApiException) -> bool:
    """404 to most calls, and 400 to a query."""
    return error.status in (400, 404) and "organization name" in said_by(error)


def no_org(org: str) -> str:
    return f"has no organisation {org!r} for our token: make it, or name another in LUNCHONG_INFLUX_ORG"


def when(ns: int) -> str:
    """A time as the HTTP API wants it."""
    return f"{datetime.fromtimestamp(ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000:09d}Z"


class Times:
    """From RFC 3339 text to nanoseconds since 1970; the days are remembered."""

    def __init__(self) -> None:
        self._days: dict[str, int] = {}

    def ns(self, text: str) -> int:
        day = self._days.get(text[:10])
        if day is None:
            day = self._days[text[:10]] = int(datetime.fromisoformat(f"{text[:10]}T00:00:00Z").timestamp())
        seconds = day + int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
        return seconds * 1_000_000_000 + int(text[20:-1].ljust(9, "0") if text[19] == "." else 0)


def _rows(text: Iterable[str], columns: Sequence[str], url: str) -> Iterator[list[str]]:
    header: list[str] | None = None
    places: list[int] = []
    for row in csv.reader(text):
        if len(row) < 2:  # an empty line stands between tables of different columns
            header = None
        elif header is None:
            header = row
            if "error" in header and "reference" in header:
                raise StoreUnavailable(f"InfluxDB at {url} gave up on a query")
            places = [header.index(name) if name in header else -1 for name in columns]
        else:
            yield ["" if place < 0 else row[place] for place in places]


def said_by(error: BaseException) -> str:
    """The reason that an answer, or a failure to get one, gives, in one line."""
    if not isinstance(error, ApiException):
        return _one_line(error) or type(error).__name__
    body: Any = error.body
    try:
        return _one_line(json.loads(body)["message"])
    except (TypeError, ValueError, KeyError):
        text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or error.reason or "no reason")
        return _one_line(text)


def _one_line(what: object) -> str:
    return " ".join(str(what).split())[:500]


def _retry_s(error: ApiException) -> float:
    said = _header(error, "Retry-After")
    try:
        return min(max(float(said), 0.1), LONGEST_WAIT_S) if said else 1.0
    except ValueError:
        return 1.0


def _date_ms(error: ApiException) -> int | None:
    try:
        return int(parsedate_to_datetime(_header(error, "Date") or "").timestamp() * 1000)
    except ValueError:
        return None


def _header(error: ApiException, name: str) -> str | None:
    headers: Any = error.headers
    return headers.get(name) if headers else None
