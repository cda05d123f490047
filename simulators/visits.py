"""Floor 1 · Real sessions as needs for the study: when people came, how much they took, how long they were there."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta

from simulators.demand import LEAST_KWH, Visit

LABELS_H = {"MST": -7, "MDT": -6}
SHORTEST_MIN, LONGEST_MIN = 60, 22 * 60
"""Shorter ones are retries or a stop on the way, longer ones cars that were left."""


def visits_of(text: str) -> list[Visit]:
    """Of each row of sessions.csv that charged 3 kWh or more in 1 to 22 hours; its times are UTC, its labels local."""
    found = []
    for row in csv.DictReader(io.StringIO(text)):
        hours, minutes, _ = row["Total_Duration__hh_mm_ss_"].split(":")
        plugged_min, energy_kwh = int(hours) * 60 + int(minutes), float(row["Energy__kWh_"])
        if energy_kwh < LEAST_KWH or not SHORTEST_MIN <= plugged_min <= LONGEST_MIN:
            continue
        utc = datetime.strptime(f"{row['Start_Date___Time']}00", "%Y/%m/%d %H:%M:%S%z")
        local = utc + timedelta(hours=LABELS_H[row["Start_Time_Zone"]])
        found.append(Visit(local.hour * 60 + local.minute, energy_kwh, plugged_min))
    return found
