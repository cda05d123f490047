"""`python -m tools.faults [--row N] [--times N] [--short] [--seed S]`: run the fault matrix, or one row of it."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time

from tools.faults.matrix import ROWS
from tools.faults.outcome import Asked, NotInTime, Outcome


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tools.faults", description=__doc__)
    asked.add_argument("--row", type=int, choices=ROWS, help="one row; all of them without")
    asked.add_argument("--times", type=int, default=1, help="how often the fault strikes in a row that can repeat it")
    asked.add_argument("--short", action="store_true", help="the form that runs in the tests")
    asked.add_argument("--seed", type=int, help="run again what was drawn with this seed")
    said = asked.parse_args()
    seed = secrets.randbelow(1_000_000) if said.seed is None else said.seed
    chosen = [said.row] if said.row else list(ROWS)
    lost = duplicates = 0
    failed = []
    for number in chosen:
        outcome = run(number, Asked(seed, said.short, said.times))
        lost, duplicates = lost + outcome.lost, duplicates + outcome.duplicates
        if outcome.missed:
            failed.append(number)
    print(json.dumps({"rows": chosen, "lost": lost, "duplicates": duplicates, "failed": failed}))
    return 1 if failed else 0


def run(number: int, asked: Asked) -> Outcome:
    """One row, told line by line."""
    title, act = ROWS[number]
    print(f"row {number}: {title} (seed {asked.seed})", flush=True)
    began_s = time.monotonic()
    try:
        outcome = act(asked)
    except NotInTime as late:
        outcome = Outcome(missed=[str(late)])
    for name, value in outcome.figures.items():
        print(f"  {name} {value}")
    print(f"  lost {outcome.lost}, duplicates {outcome.duplicates}")
    if outcome.recovered_s:
        print(f"  recovered after {', '.join(f'{took_s:g}' for took_s in outcome.recovered_s)} s")
    for line in outcome.missed:
        print(f"  MISSED: {line}")
    print(f"  {'failed' if outcome.missed else 'held'} in {time.monotonic() - began_s:.0f} s", flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
