"""``python -m packshot_bench.readme [--check]``: the figures in the READMEs, from the committed results.

They stand between two marks. With ``--check`` nothing is written and a difference is an error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from packshot.errors import expected
from packshot_bench.compare import compared, table
from packshot_bench.results import Report, Row
from packshot_bench.samples import ratio_of, summarised

#: Of ``packshot bench run --full``.
RESULTS = Path("benchmarks/results/bench.json")
#: Of its scenario ``one_shot_alone``, on random weights of Stable Diffusion 2's full size.
FULL_SIZE = Path("benchmarks/results/full_size_shots.json")
#: Of ``make bench``, twice at the same commit on the same machine.
QUICK = Path("benchmarks/results/quick.json")
AGAIN = Path("benchmarks/results/quick_again.json")
#: What the evaluation of the default weights has found.
EVALUATION = Path("pocket/evaluation/evaluation.json")
#: How the subjects of a scenario of shots were taken.
_TAKEN = {"one_shot": "interleaved", "one_shot_alone": "one subject after the other"}
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def shots(report: Report) -> str:
    """Markdown of a shot's time, by packshot and by what one would use instead."""
    about = report.environment
    rows = [row for row in report.rows if row.scenario in _TAKEN and row.samples_s]
    ours = next((row for row in rows if row.subject == "packshot"), None)
    if ours is None:
        raise expected("results", "no shots of packshot", f"a run of {' or '.join(_TAKEN)}")
    side, steps, rounds = ours.case["side"], ours.case["num_inference_steps"], len(ours.rounds)
    lines = [
        f"Seconds for a {side}×{side} shot of {steps} guided steps with the weights of `{about['family']}`,",
        f"{_TAKEN[ours.scenario]}, on {about['cores']} cores of an {about['cpu']} ({_rates(about)});",
        f"with 95 % confidence intervals over {rounds} starts of each:",
        "",
        "| | median | longest | times packshot's | greatest difference from fp32, of 255 |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(_shot(row, ours) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _rates(about: Mapping[str, Any]) -> str:
    """What matrix products in fp32 reach; runs from before these were told by library are of numpy."""
    rates = about.get("matrix_rates_gflops_fp32", {"numpy": about["matrix_rate_gflops_fp32"]})
    told = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
    return f"GFLOP/s of large fp32 matrix products: {told}"


def _shot(row: Row, ours: Row) -> str:
    summary = summarised(row.samples_s)
    times = "" if row is ours else _ratio(ours, row)
    difference = row.quality.get("greatest_difference")
    apart = "" if difference is None else f"{difference:.0f}"
    return f"| {row.subject} | {summary.median:.2f} | {max(row.samples_s):.2f} | {times} | {apart} |"


def others(report: Report) -> str:
    """Markdown of everything else."""
    lines = [
        "| scenario | | median s | times packshot's | mean s | p90 s | images/s | rows a step |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *_others(report.rows),
    ]
    return "\n".join(lines) + "\n"


def _others(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row.scenario in _TAKEN or not row.samples_s:
            continue
        summary, case = summarised(row.samples_s), ", ".join(f"{k} {v}" for k, v in row.case.items())
        numbers = (
            f"{row.measures[name]:.2f}" if name in row.measures else ""
            for name in ("images_per_s", "rows_per_step")
        )
        what = f"{row.scenario}: {case}".replace("_", " ")
        cells = (
            what,
            row.subject,
            _seconds(summary.median),
            _times(row, rows),
            _seconds(mean(row.samples_s)),
            _seconds(summary.p90),
            *numbers,
        )
        yield f"| {' | '.join(cells)} |"


def _times(row: Row, rows: Sequence[Row]) -> str:
    """A row's seconds in those of packshot in the same case."""
    case = (row.scenario, row.case)
    same = (one for one in rows if one.subject == "packshot" and (one.scenario, one.case) == case)
    ours = next(same, row)
    return "" if ours is row or not ours.samples_s else _ratio(ours, row)


def _ratio(ours: Row, row: Row) -> str:
    """Of two subjects of one run, round by round if they have as many."""
    ratio = ratio_of(ours.medians(), row.medians(), paired=len(ours.rounds) == len(row.rounds))
    interval = f" ({ratio.low:.2f} to {ratio.high:.2f})" if ratio.low else ""
    return f"{ratio.ratio:.2f}{interval}"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def repeated(once: Report, again: Report) -> str:
    """Text of how far two runs of one commit agree."""
    made = [[report.environment[name] for name in ("commit", "dirty", "cpu")] for report in (once, again)]
    if made[0] != made[1]:
        raise expected("results", f"runs of {made[0]} and {made[1]}", "two runs of one commit on one machine")
    ratios = [each.ratio for each in compared(once, again) if each.ratio and each.ratio.low]
    agree = sum(not ratio.differs for ratio in ratios)
    minutes = [report.environment["took_s"] / 60 for report in (once, again)]
    return (
        "`make bench` was run twice, at one commit on one machine; it took "
        f"{minutes[0]:.1f} and {minutes[1]:.1f} minutes.\n"
        f"`packshot bench compare` finds that {agree} of {len(ratios)} rows with several rounds agree:\n\n"
        f"```text\n{table(once, again)}\n```\n"
    )


def weights(evaluation: Mapping[str, Any]) -> str:
    """Markdown of how good the default weights are, next to what they should be."""
    measured: dict[str, list[str]] = {}
    for name, section in evaluation["sections"].items():
        machine = section["machine"]
        where = machine["gpu"] or f"{machine['cores']} cores of a processor"
        measured.setdefault(f"on {where}, at commit `{section['commit']}`", []).append(name)
    each = [how if len(measured) == 1 else f"{', '.join(names)} {how}" for how, names in measured.items()]
    lines = [
        f"Measured {'; '.join(each)}:",
        "",
        "| | value | target | met | of | rendered pictures themselves |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for name, section in evaluation["sections"].items():
        lines += [_measure(name, measure) for measure in section["measures"]]
    return "\n".join(lines) + "\n"


def _measure(section: str, measure: Mapping[str, Any]) -> str:
    bounds = (("≥", measure.get("at_least")), ("≤", measure.get("at_most")))
    target = ", ".join(f"{sign} {bound:.3g}" for sign, bound in bounds if bound is not None)
    met = {True: "yes", False: "**no**", None: ""}[measure["passed"]]
    value, truth = (
        "" if (number := measure.get(name)) is None else f"{number:.3g}" for name in ("value", "truth")
    )
    return f"| {section}: {measure['name']} | {value} | {target} | {met} | {measure['n']} | {truth} |"


def blocks() -> dict[Path, str]:
    """Documents, and what stands in them."""
    report, full_size, once, again = map(Report.read, (RESULTS, FULL_SIZE, QUICK, AGAIN))
    return {
        Path("README.md"): f"{shots(report)}\n{shots(full_size)}",
        Path("benchmarks/README.md"): f"{others(report)}\n{repeated(once, again)}",
        Path("pocket/weights/README.md"): weights(json.loads(EVALUATION.read_text())),
    }


def replaced(text: str, block: str) -> str:
    """A document with another block between the marks.

    Raises:
        InvalidArgument: it has not each mark once.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise expected("document", "no pair of marks", f"{BEGIN.strip()} and {END.strip()}, once each")
    return f"{before}{begin}\n{block}\n{end}{after}"


def main(arguments: Sequence[str]) -> int:
    """Write the blocks, or with ``--check`` name the documents that are stale."""
    stale = 0
    for path, block in blocks().items():
        text = path.read_text()
        wanted = replaced(text, block)
        if wanted == text:
            continue
        stale += 1
        if "--check" in arguments:
            sys.stderr.write(
                f"{path}: the figures are not those of the results; `make generated` writes them\n"
            )
        else:
            path.write_text(wanted)
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
