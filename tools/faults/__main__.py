"""`python -m tools.faults [--row N] [--on PARTS] [--times N] [--short] [--seed S]`: the fault matrix, or one row."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time

from tools.faults.matrix import BOTH, PARTS, ROWS, missing
from tools.faults.outcome import Asked, NotInTime, Outcome


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tools.faults", description=__doc__)
    asked.add_argument("--row", type=int, choices=ROWS, help="one row; all of them without")
    asked.add_argument(
        "--on",
        choices=(*BOTH, "both"),
        default="both",
        help="NATS + DuckDB, mosquitto + InfluxDB, or one after the other",
    )
    asked.add_argument("--times", type=int, default=1, help="how often the fault strikes in a row that can repeat it")
    asked.add_argument("--short", action="store_true", help="the form that runs in the tests")
    asked.add_argument("--seed", type=int, help="run again what was drawn with this seed")
    said = asked.parse_args()
    seed = secrets.randbelow(1_000_000) if said.seed is None else said.seed
    chosen = [(number, on) for number in ROWS for on in ROWS[number].on]
    chosen = [(n, on) for n, on in chosen if said.row in (None, n) and said.on in ("both", on)]
    ran: list[int] = []
    failed: list[int] = []
    lost = duplicates = 0
    for number, on in chosen:
        if lacks := missing(number, on):
            print(f"row {number} on {PARTS[on]}: not run, {lacks}", flush=True)
            continue
        outcome = run(number, Asked(seed, said.short, said.times, on))
        lost, duplicates = lost + outcome.lost, duplicates + outcome.duplicates
        ran.append(number)
        if outcome.missed:
            failed.append(number)
    print(json.dumps({"rows": _once(ran), "lost": lost, "duplicates": duplicates, "failed": _once(failed)}))
    return 1 if failed or not ran else 0


def run(number: int, asked: Asked) -> Outcome:
    """One row on one kind of parts, told line by line."""
    row = ROWS[number]
    print(f"row {number} on {PARTS[asked.on]}: {row.title} (seed {asked.seed})", flush=True)
    began_s = time.monotonic()
    try:
        outcome = row.act(asked)
    except NotInTime as late:
        outcome = Outcome(missed=[str(late)])
    said = [f"  {name} {value}" for name, value in outcome.figures.items()]
    said.append(f"  lost {outcome.lost}, duplicates {outcome.duplicates}")
    if outcome.recovered_s:
        said.append(f"  recovered after {', '.join(f'{took_s:g}' for took_s in outcome.recovered_s)} s")
    said += [f"  MISSED: {line}" for line in outcome.missed]
    said.append(f"  {'failed' if outcome.missed else 'held'} in {time.monotonic() - began_s:.0f} s")
    print("\n".join(said), flush=True)
    return outcome


def _once(numbers: list[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


if __name__ == "__main__":
    sys.exit(main())
