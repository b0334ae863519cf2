"""Two runs held against each other, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packshot_bench.results import Report, Row
from packshot_bench.samples import Ratio, ratio_of

#: Of a number; less is not worth a word.
_MOVED = 0.1


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row of both runs, or of one of them.

    Attributes:
        row: the second run's, or the first's if the second has none.
        ratio: second over first; None if one of them has no samples.
        note: why there is no ratio; or by how much other numbers moved, where that is more than a tenth.
    """

    row: Row
    ratio: Ratio | None
    note: str | None = None


def compared(first: Report, second: Report) -> Iterator[Comparison]:
    """All rows of both runs, in the order of the second, then those that only the first has."""
    before = {row.key: row for row in first.rows}
    for row in second.rows:
        old = before.pop(row.key, None)
        if old is None:
            yield Comparison(row, None, "only in the second run")
        elif row.error or old.error:
            yield Comparison(row, None, f"failed: {row.error or old.error}")
        else:
            moved = _moved({**old.measures, **old.quality}, {**row.measures, **row.quality})
            yield Comparison(row, _ratio(old, row), ", ".join(moved) or None)
    for row in before.values():
        yield Comparison(row, None, "only in the first run")


def _moved(before: Mapping[str, float], now: Mapping[str, float]) -> Iterator[str]:
    """Numbers that are not times; they are one for all rounds, so nothing tells what is chance."""
    for name in sorted(before.keys() & now.keys()):
        old, new = before[name], now[name]
        if abs(new - old) > _MOVED * abs(old):
            yield f"{name} {old:.3g} to {new:.3g}"


def _ratio(old: Row, row: Row) -> Ratio:
    steadied = bool(old.probe_s) and bool(row.probe_s)
    # Each round has Poisson arrivals of its own, the same in both runs, and they make most of its time.
    paired = "arrivals_per_s" in row.measures and len(old.rounds) == len(row.rounds)
    return ratio_of(old.medians(steadied=steadied), row.medians(steadied=steadied), paired=paired)


def _apart(first: Report, second: Report) -> Iterator[tuple[str, object, object]]:
    """What the runs were made of and on, as far as it is not the same."""
    for name in ("commit", "dirty", "cpu", "cores", "gpu", "family", "artifacts", "versions"):
        one, other = first.environment.get(name), second.environment.get(name)
        if one != other:
            yield name, one, other


def table(first: Report, second: Report) -> str:
    """The comparison as text: ratios above 1 mean that the second run is slower."""
    lines = [
        f"{name}: {one} in the first run, {other} in the second" for name, one, other in _apart(first, second)
    ]
    lines += [f"{'ratio':>7}  {'95 % interval':>17}  row"]
    for each in compared(first, second):
        case = " ".join(f"{name}={value}" for name, value in each.row.case.items())
        what = " ".join(filter(None, (each.row.scenario, each.row.subject, case)))
        if each.ratio is None:
            lines.append(f"{'–':>7}  {'':>17}  {what}: {each.note}")
            continue
        verdict = "" if not each.ratio.differs else "  SLOWER" if each.ratio.ratio > 1 else "  faster"
        interval = f"{each.ratio.low:.3f} to {each.ratio.high:.3f}"
        moved = f"  ({each.note})" if each.note else ""
        lines.append(f"{each.ratio.ratio:7.3f}  {interval:>17}  {what}{verdict}{moved}")
    return "\n".join(lines)
