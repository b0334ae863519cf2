"""The command lines of the README: ``python -m benchmarks.perf_analyzer.commands`` prints them.

Options are those of ``docs/cli.md`` of triton-inference-server/perf_analyzer.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from packshot.contract import ENSEMBLES, MODELS

#: Where recorded inputs are written to, and read from.
DATA = Path(".cache/perf_analyzer")


@dataclass(frozen=True, slots=True)
class Load:
    """What a model is put under.

    Attributes:
        concurrency: callers that wait for their answers; start:end:step.
        rate_per_s: requests of callers that do not; start:end:step.
        window: requests of one measurement.
    """

    concurrency: str
    rate_per_s: str
    window: int


#: For the default family on two cores: a picture takes a single caller 1.5 to 2 s, a pass of the VAE 0.04 to
#: 0.1 s, everything else less than 0.03 s.
_PICTURES = Load("1:7:2", "0.2:0.6:0.2", 20)
_VAE = Load("1:16:5", "2:10:2", 100)
_QUICK = Load("1:16:5", "10:50:10", 100)

LOADS: dict[str, Load] = {
    "generate": _PICTURES,
    "generate_stream": _PICTURES,
    "denoiser": _PICTURES,
    "vae_encoder": _VAE,
    "vae_decoder": _VAE,
    "segment": _QUICK,
    "sam_encoder": _QUICK,
    "sam_decoder": _QUICK,
    "text_encoder": _QUICK,
    "tokenizer": _QUICK,
    "check_inputs": _QUICK,
    "check_prompts": _QUICK,
}


def data_file(model: str, directory: Path = DATA) -> Path:
    """Where a model's recorded inputs lie."""
    return directory / f"{model}.json"


def caches(model: str) -> list[str]:
    """The models from whose response cache a request of this one may be answered."""
    # generate_stream asks its own server's generate.
    ensemble = "generate" if model == "generate_stream" else model
    inside = [model, *(step.model for step in ENSEMBLES.get(ensemble, ()))]
    return [name for name in MODELS if name in inside and MODELS[name].response_cache]


def commands(model: str) -> tuple[str, str]:
    """A sweep over concurrencies, and Poisson arrivals, which go on whether or not answers come."""
    load = LOADS[model]
    base = (
        f"perf_analyzer -m {model} -i grpc -u localhost:8001 -b 1 --input-data={data_file(model)} "
        f"--measurement-mode=count_windows --measurement-request-count={load.window}"
    )
    # The tool insists on both for a decoupled model.
    streaming = " --async --streaming" if MODELS[model].decoupled else ""
    # Without --async, arrivals wait for one of a few threads.
    arrivals = streaming or " --async"
    return (
        f"{base}{streaming} --concurrency-range={load.concurrency}",
        f"{base}{arrivals} --request-rate-range={load.rate_per_s} --request-distribution=poisson",
    )


def script() -> str:
    """All of them as a shell script."""
    lines = []
    for model in LOADS:
        cached = f"; the cache of {', '.join(caches(model))} answers" if caches(model) else ""
        lines += [f"# {model}{cached}", *commands(model)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(script())
