"""Pictures of a run, made from its document: PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from packshot_bench.results import Report, Row

#: Okabe and Ito's colours, which the colour-blind tell apart, too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
#: In the order of a request's way.
_STAGES = ("client", "queue", "text", "vae_encode", "steps", "vae_decode", "network", "paste")
_SIZE_INCHES = (7.5, 4.0)
#: The same document gives the same files.
_SETTINGS = {"svg.hashsalt": "packshot", "axes.spines.top": False, "axes.spines.right": False}


def plot(report: Report, folder: Path) -> list[Path]:
    """Draw what the run has rows for.

    Args:
        report: the run.
        folder: for the files.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (scenarios, draw) in _PLOTS.items():
        rows = [row for row in report.rows if row.scenario in scenarios and row.samples_s]
        if not rows:
            continue
        with mpl.rc_context(_SETTINGS):
            figure = Figure(_SIZE_INCHES, layout="constrained")
            axes = figure.add_subplot()
            draw(axes, rows)
            for suffix, about in ((".png", {"Software": None}), (".svg", {"Date": None})):
                written.append(folder / f"{name}{suffix}")
                figure.savefig(written[-1], dpi=150, metadata=about)
    return written


def _distribution(axes: Axes, rows: Iterable[Row]) -> None:
    """How many of the shots were done within so many seconds."""
    for row, colour in zip(rows, _COLOURS, strict=False):
        samples = np.sort(row.samples_s)
        share = np.arange(1, len(samples) + 1) / len(samples)
        axes.step(samples, share, where="post", color=colour, label=row.subject)
    axes.set(title="One shot at a time", xlabel="seconds for a shot", ylabel="share of shots", xlim=(0, None))
    axes.legend(frameon=False)


def _waterfall(axes: Axes, rows: Iterable[Row]) -> None:
    """What a shot's seconds go into, median by median."""
    rows = list(rows)[::-1]
    for place, row in enumerate(rows):
        left = 0.0
        for stage, colour in zip(_STAGES, _COLOURS, strict=False):
            if seconds := float(np.median(row.stages_s.get(stage, (0.0,)))):
                axes.barh(place, seconds, left=left, color=colour)
                left += seconds
        rest = float(np.median(row.samples_s)) - left
        axes.barh(place, max(0.0, rest), left=left, color="#CCCCCC")
    for stage, colour in (*zip(_STAGES, _COLOURS, strict=False), ("not told apart", "#CCCCCC")):
        axes.barh(0, 0, color=colour, label=stage.replace("_", " "))
    axes.set(title="One shot, stage by stage", xlabel="seconds", yticks=range(len(rows)))
    axes.set_yticklabels([row.subject for row in rows])
    axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.4, -0.15))


def _load(axes: Axes, rows: Iterable[Row]) -> None:
    """Latency over the rate of Poisson arrivals."""
    by_subject: dict[str, list[Row]] = {}
    for row in rows:
        if "arrivals_per_s" in row.measures and "of_steps" not in row.case:
            by_subject.setdefault(row.subject, []).append(row)
    for (subject, mine), colour in zip(by_subject.items(), _COLOURS, strict=False):
        mine.sort(key=lambda row: row.measures["arrivals_per_s"])
        arrivals = [row.measures["arrivals_per_s"] for row in mine]
        for style, share in (("-", 0.5), ("--", 0.9)):
            latencies = [np.quantile(row.samples_s, share) for row in mine]
            axes.plot(
                arrivals, latencies, style, marker="o", color=colour, label=f"{subject}, p{share * 100:.0f}"
            )
    axes.set(
        title="Poisson arrivals", xlabel="requests a second", ylabel="seconds for a shot", ylim=(0, None)
    )
    axes.legend(frameon=False)


def _throughput(axes: Axes, rows: Iterable[Row]) -> None:
    """Shots a second against latency, as callers are added."""
    by_subject: dict[str, list[Row]] = {}
    for row in rows:
        if "images_per_s" in row.measures:
            by_subject.setdefault(row.subject, []).append(row)
    for (subject, mine), colour in zip(by_subject.items(), _COLOURS, strict=False):
        rates = [row.measures["images_per_s"] for row in mine]
        latencies = [float(np.median(row.samples_s)) for row in mine]
        axes.plot(rates, latencies, marker="o", color=colour, label=subject)
        for row, rate, latency in zip(mine, rates, latencies, strict=True):
            axes.annotate(
                f"{row.case['callers']}", (rate, latency), xytext=(5, 3), textcoords="offset points"
            )
    axes.set(title="Closed loop; numbers are callers", xlabel="shots a second", ylabel="seconds for a shot")
    axes.set(xlim=(0, 1.1 * axes.get_xlim()[1]), ylim=(0, None))
    axes.legend(frameon=False)


_PLOTS: Mapping[str, tuple[tuple[str, ...], Callable[[Axes, Iterable[Row]], None]]] = {
    "latency": (("one_shot",), _distribution),
    "stages": (("one_shot",), _waterfall),
    "load": (("open_loop",), _load),
    "throughput": (("concurrency",), _throughput),
}
