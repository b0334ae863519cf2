"""One picture at a time: how long it takes, stage by stage, by every subject."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from packshot import Parameters, canny, compose, paste_back
from packshot.catalog.gate import edge_f1
from packshot_bench.context import Context, subjects
from packshot_bench.failure import failure
from packshot_bench.job import Job, make_job
from packshot_bench.machine import release_memory
from packshot_bench.matrix_rate import matrix_rate_flops
from packshot_bench.results import Row
from packshot_bench.subjects import Subject

#: Whose picture the others' are compared with.
REFERENCE = "diffusers eager fp32"


@dataclass(frozen=True, slots=True)
class OneShot:
    """One caller, one picture after the other; subjects take turns, A B C C B A, and start anew each round.

    A shot begins with a product and ends with its own pixels in the picture. What comes before and after
    the painting is the same code for every subject, and the stages ``client`` and ``paste`` of each.

    Attributes:
        side: of the canvas in pixels.
        parameters: how to paint.
        names: of the subjects.
        alone: whether each subject ends before the next one starts, as large checkpoints need it: memory
            does not hold several of them. Those that come first in a round come last in the next.
    """

    once = False
    side: int = 256
    parameters: Parameters = Parameters(20, guidance_scale=2.0)  # noqa: RUF009 (frozen)
    names: tuple[str, ...] = (
        "packshot", "packshot bf16", "onnxruntime loop", "diffusers eager fp32", "diffusers eager bf16",
    )  # fmt: skip
    alone: bool = False

    @property
    def name(self) -> str:
        """Shots that were not in turns are another scenario's, and compared with each other only."""
        return "one_shot_alone" if self.alone else "one_shot"

    def run(self, context: Context) -> Iterator[Row]:
        """A row for each subject; one that fails is a row with its error."""
        # It needs torch, which a call of `packshot --help` need not wait for.
        from packshot_bench.work import flop_per_picture

        case = {"side": self.side, "num_inference_steps": self.parameters.num_inference_steps}
        # First, as it may fail: nothing has been measured then.
        flop = flop_per_picture(context.checkpoints, self.side, self.parameters.num_inference_steps)
        running: dict[str, _Running] = {}
        together = context.in_turn([(name,) for name in self.names]) if self.alone else [self.names]
        for names in together:
            yield from self._take_turns(context, names, case, running)
        reference = running[REFERENCE].images if REFERENCE in running else None
        for name in self.names:
            if name in running:
                yield running[name].row(self.name, name, case, reference, flop)

    def _take_turns(
        self, context: Context, names: Sequence[str], case: Mapping[str, int], running: dict[str, _Running]
    ) -> Iterator[Row]:
        """Measure some subjects beside each other; those that fail are rows, the others join ``running``."""
        makers = subjects()
        here: dict[str, _Running] = {}
        with ExitStack() as stack:
            for name in names:
                context.tell(f"{self.name}: {name}")
                try:
                    subject = stack.enter_context(makers[name](context))
                    subject.paint(self._job(context, 0))
                except Exception as error:  # noqa: BLE001 (whatever a library raises is a row)
                    yield _failed(self.name, name, case, error)
                    continue
                here[name] = _Running(subject)
            for number in range(context.repeats):
                context.tell(f"{self.name}: {number + 1}/{context.repeats}")
                job = self._job(context, 1 + number + context.round * context.repeats)
                for name, each in context.in_turn(list(here.items()), number):
                    try:
                        each.paint(job, context)
                    except Exception as error:  # noqa: BLE001 (likewise; the others go on)
                        del here[name]
                        yield _failed(self.name, name, case, error)
        running |= here
        release_memory()

    def _job(self, context: Context, number: int) -> Job:
        return make_job(context.family, self.side, self.parameters, number)


def _failed(scenario: str, name: str, case: Mapping[str, int], error: Exception) -> Row:
    return Row(scenario, name, case, error=failure(error))


@dataclass(slots=True)
class _Running:
    """A subject, and what it has done."""

    subject: Subject
    samples_s: list[float] = field(default_factory=list)
    probe_s: list[float] = field(default_factory=list)
    stages_s: dict[str, list[float]] = field(default_factory=dict)
    images: list[np.ndarray] = field(default_factory=list)
    edge_f1: list[float] = field(default_factory=list)

    def paint(self, job: Job, context: Context) -> None:
        before = context.probe()
        began = time.perf_counter()
        composition = compose(job.placement, job.composition.size)
        canny(composition.image, alpha=composition.alpha)
        client_s = time.perf_counter() - began
        painted = self.subject.paint(job)
        began = time.perf_counter()
        paste_back(composition, painted.image)
        paste_s = time.perf_counter() - began
        self.samples_s.append(client_s + painted.took_s + paste_s)
        self.probe_s.append((before + context.probe()) / 2)
        for stage, seconds in {"client": client_s, **painted.stages_s, "paste": paste_s}.items():
            self.stages_s.setdefault(stage, []).append(seconds)
        self.images.append(painted.image)
        found, wanted = canny(painted.image) > 0, job.control_image > 0
        self.edge_f1.append(edge_f1(found, wanted, np.ones_like(wanted)))

    def row(
        self,
        scenario: str,
        name: str,
        case: Mapping[str, int],
        reference: list[np.ndarray] | None,
        flop: float,
    ) -> Row:
        quality = {"edge_f1": float(np.mean(self.edge_f1))}
        if reference is not None:
            pairs = zip(self.images, reference, strict=True)
            quality["greatest_difference"] = float(max(np.abs(a.astype(int) - b).max() for a, b in pairs))
        stages = {stage: tuple(samples) for stage, samples in self.stages_s.items()}
        rate = flop / float(np.median(self.samples_s))
        measures = {"flop_per_picture": flop, "of_matrix_rate": rate / matrix_rate_flops()}
        if "steps" in stages:
            measures["step_s"] = float(np.median(stages["steps"])) / case["num_inference_steps"]
        return Row(
            scenario, name, case, tuple(self.samples_s), tuple(self.probe_s), stages, measures, quality
        )
