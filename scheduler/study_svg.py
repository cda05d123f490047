"""Floor 0 · The study's figures as SVG: a bar for each policy, with the interval over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from scheduler.study_figures import Interval

WIDTH, ROW, LEFT, TOP = 720, 28, 190, 54
BAR, LINE = "#2f7d6d", "#1c1c1c"
TICKS = 4


def bars(title: str, unit: str, values: Mapping[str, Interval]) -> str:
    """Names at the left, values to the right of each bar, an axis from 0; the thin line is the interval."""
    most = max((one.high for one in values.values()), default=0.0) or 1.0
    wide = WIDTH - LEFT - 80
    height = TOP + ROW * len(values) + 34
    view = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}"'
    said = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {view} font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="24" font-size="16">{escape(title)}</text>',
    ]
    bottom = TOP + ROW * len(values)
    for tick in range(TICKS + 1):
        x = LEFT + wide * tick / TICKS
        said.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#d0d0d0"/>')
        said.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{most * tick / TICKS:.3g}</text>')
    said.append(f'<text x="{LEFT + wide + 76}" y="{bottom + 16}" text-anchor="end">{escape(unit)}</text>')
    for no, (name, one) in enumerate(values.items()):
        y = TOP + ROW * no
        middle = y + ROW / 2 - 4
        low, end, high = (LEFT + wide * max(0.0, value) / most for value in (one.low, one.median, one.high))
        said += [
            f'<text x="{LEFT - 8}" y="{middle + 5}" text-anchor="end">{escape(name.replace("_", " "))}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{ROW - 9}" fill="{BAR}"/>',
            f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="{LINE}" stroke-width="2"/>',
            f'<text x="{max(end, high) + 6:.1f}" y="{middle + 5}">{one.median:.3g}</text>',
        ]
    return "\n".join([*said, "</svg>", ""])
