"""`python -m benchmarks [throughput|stream] [--runs 3]`: every figure is the median of runs made in one go."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from statistics import median, quantiles

from benchmarks.installation import MosquittoMissing, installed
from benchmarks.measure import stream_delays_ms, throughput


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m benchmarks")
    asked.add_argument("what", nargs="?", choices=("all", "throughput", "stream"), default="all")
    asked.add_argument("--runs", type=int, default=3)
    said = asked.parse_args()
    figures: dict[str, list[float]] = defaultdict(list)
    for run in range(1, said.runs + 1):
        print(f"run {run} of {said.runs}", file=sys.stderr, flush=True)
        if said.what != "stream":
            _throughput(figures)
        if said.what != "throughput":
            _stream(figures)
    print(json.dumps({name: round(median(values), 1) for name, values in figures.items()} | {"runs": said.runs}))


def _throughput(figures: dict[str, list[float]]) -> None:
    for broker in ("embedded", "mosquitto"):
        try:
            with installed(broker) as installation:
                found = throughput(installation)
        except MosquittoMissing:
            print("  mosquitto is missing (tools/system-packages test): left out", file=sys.stderr)
            continue
        _note(figures, f"msgs_per_s_{broker}", found.msgs_per_s, "published, acknowledged and stored")
        if broker == "embedded":
            _note(
                figures, "ingest_us_per_msg", found.ingest_us_per_msg, "processor time of the service, broker left out"
            )


def _stream(figures: dict[str, list[float]]) -> None:
    with installed("embedded") as installation:
        delays_ms = stream_delays_ms(installation)
    cuts = quantiles(delays_ms, n=100)
    _note(figures, "stream_p50_ms", cuts[49], f"publish to event stream, {len(delays_ms)} changes")
    _note(figures, "stream_p99_ms", cuts[98], "publish to event stream, at 500 messages a second")


def _note(figures: dict[str, list[float]], name: str, value: float, what: str) -> None:
    figures[name].append(value)
    print(f"  {name} {value:.1f}  ({what})", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
