"""``python -m packshot_bench.readme [--check]``: the figures in README.md, from the committed result.

They stand between two marks. With ``--check`` nothing is written and a difference is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from packshot.errors import expected
from packshot_bench.results import Report, Row
from packshot_bench.samples import ratio_of, summarised

README = Path("README.md")
RESULT = Path("benchmarks/results/bench.json")
BEGIN, END = "<!-- figures: make bench -->\n", "<!-- end of figures -->\n"


def figures(report: Report) -> str:
    """Markdown of the run's rows that a newcomer asks for first."""
    about = report.environment
    shots = [row for row in report.rows if row.scenario == "one_shot" and row.samples_s]
    ours = next(row for row in shots if row.subject == "packshot")
    side, steps = ours.case["side"], ours.case["num_inference_steps"]
    lines = [
        f"Seconds for a {side}×{side} shot of {steps} guided steps with the weights of `{about['family']}`,",
        f"all in turns, on {about['cores']} cores of a {about['cpu']}:",
        "",
        "| | median | p90 | times packshot's | of 255 from fp32 |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(_shot(row, ours) for row in shots),
    ]
    return "\n".join(lines) + "\n"


def _shot(row: Row, ours: Row) -> str:
    summary, ratio = summarised(row.samples_s), ratio_of(ours.steadied, row.steadied)
    times = "" if row is ours else f"{ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
    difference = row.quality.get("greatest_difference")
    apart = "" if difference is None else f"{difference:.0f}"
    return f"| {row.subject} | {summary.median:.2f} | {summary.p90:.2f} | {times} | {apart} |"


def replaced(text: str, block: str) -> str:
    """A document with another block between the marks.

    Raises:
        InvalidArgument: it has not each mark once.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise expected(str(README), "no pair of marks", f"{BEGIN.strip()} and {END.strip()}, once each")
    return f"{before}{begin}\n{block}\n{end}{after}"


def main(arguments: Sequence[str]) -> int:
    """Write the block, or with ``--check`` say whether it is stale."""
    text = README.read_text()
    wanted = replaced(text, figures(Report.read(RESULT)))
    if wanted == text:
        return 0
    if "--check" in arguments:
        sys.stderr.write(f"{README}: the figures are not those of {RESULT}; `make generated` writes them\n")
        return 1
    README.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
