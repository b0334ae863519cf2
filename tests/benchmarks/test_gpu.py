"""``benchmarks.gpu`` on a CPU and small models: the code that a GPU runs."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch

from benchmarks.gpu.__main__ import SECTIONS, main
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.candidates import ours_on_onnxruntime, ours_on_tensorrt
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.forked import ForkedStep
from benchmarks.gpu.models import TINY, Models
from benchmarks.gpu.report import Report
from packshot.contract import ARTIFACTS
from packshot_export.plans import PlanBuilder
from tests.families import exported
from tests.serving.engine import tensorrt_on_host

#: Left out: inductor takes minutes on a CPU, and what it compiles for is not there.
NEEDS_A_GPU = {"compiled"}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Of all other sections. The graphs are another family's of the same sizes: exporting takes a minute."""
    output = tmp_path_factory.mktemp("gpu") / "result.json"
    graphs = (exported("tiny-sd2")[1] / ARTIFACTS["step"]).parent
    chosen = [name for name in SECTIONS if name not in NEEDS_A_GPU]
    arguments = ["--device", "cpu", "--tiny", "--only", ",".join(chosen), "--output", str(output)]
    assert main([*arguments, "--work", str(graphs)]) == 0
    return json.loads(output.read_text())


def test_every_section_has_rows_and_none_an_error(result):
    assert set(result["sections"]) == set(SECTIONS) - NEEDS_A_GPU
    for section in result["sections"].values():
        assert section["rows"]
        assert not [row for row in section["rows"] if "error" in row]


def test_parts_in_half_precision_are_close_to_fp32(result):
    rows = result["sections"]["parity"]["rows"]
    assert {row["name"] for row in rows} == {*ARTIFACTS, "step, forked"}
    for row in rows:
        assert row["finite"], row
        assert row["relative"] < 0.02, row


def test_every_way_is_timed_at_every_size_and_set_against_the_limit(result):
    rows = result["sections"]["steps"]["rows"]
    fused = {f"fused recorded{how}" for how in ("", ", channels last", ", forked")}
    ways = {"diffusers eager", *fused, "onnxruntime"}
    assert {(row["name"], row["rows"]) for row in rows} == {(way, rows) for way in ways for rows in (2, 4)}
    for row in rows:
        assert row["ms"] > 0
        assert row["of_limit"] > 0
    picture = result["sections"]["counted"]["rows"][0]
    limit = max(r["tflops"] for r in result["sections"]["limits"]["rows"] if r["name"] == "matmul fp32")
    assert math.isclose(picture["limit_ms"], picture["tflop"] / limit * 1e3, rel_tol=0.2)


class Streams:
    """Of a device that notes what happens on which of its streams."""

    def __init__(self):
        self.book, self.current = [], "main"

    def __call__(self, device):
        return self

    def Stream(self):
        return SimpleNamespace(wait_stream=lambda other: self.book.append("side waits for main"))

    def current_stream(self):
        return SimpleNamespace(wait_stream=lambda other: self.book.append("main waits for side"))

    @contextlib.contextmanager
    def stream(self, stream):
        self.current = "side"
        yield
        self.current = "main"


def test_controlnets_that_run_beside_the_encoder_have_ended_where_they_are_added(monkeypatch):
    models, streams = Models(TINY, "cpu", torch.float32), Streams()
    step, inputs = models.step, models.inputs("step", 1)
    monkeypatch.setattr("torch.get_device_module", streams)
    for name, module in (
        ("controlnet", step.controlnets[0].mid_block),
        ("encoder", step.unet.down_blocks[0]),
        ("middle", step.unet.mid_block),
        ("decoder", step.unet.up_blocks[0]),
    ):
        module.register_forward_hook(
            lambda *_, name=name: streams.book.append(f"{name} on {streams.current}")
        )
    with torch.no_grad():
        wanted = step(**inputs)["next_state"]
        streams.book.clear()
        assert torch.equal(ForkedStep(step, "cpu")(**inputs)["next_state"], wanted)
    assert streams.book == [
        "side waits for main", "controlnet on side",
        "encoder on main", "middle on main", "main waits for side", "decoder on main",
    ]  # fmt: skip


def test_a_step_on_tensorrt_is_taken_like_the_one_on_onnx_runtime(monkeypatch, tmp_path):
    """On an imitation of TensorRT that computes with ONNX Runtime, and plans that are its."""

    def build(self, name, graph, profiles, gpu):
        (only,) = profiles
        assert all(least == best == most for least, best, most in only.shapes.values())
        return json.dumps({"graph": str(graph), "profiles": [dict(only.shapes)]}).encode()

    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_on_host)
    monkeypatch.setattr("packshot_export.plans._own_gpu", lambda: "sm_90")
    monkeypatch.setattr(PlanBuilder, "build", build)
    work = shutil.copytree((exported("tiny-sd2")[1] / ARTIFACTS["step"]).parent, tmp_path / "work")
    models = Models(TINY, "cpu", torch.float32)
    bench = Bench(models, Clock("cpu", 2, 0.01), Report(None, {}, 60), work)
    for name, of_rows in (("ours", 2), ("again, from the plan that is there", 2), ("twice as many", 4)):
        results = [ways(bench, of_rows)() for ways in (ours_on_tensorrt, ours_on_onnxruntime)]
        assert [rows for _, rows in results] == [of_rows, of_rows], name
        assert all(finite.all() for finite, _ in results)
    assert len(list(work.glob("step.*.sm_90.tensorrt.plan"))) == 2


def test_the_environment_says_what_was_measured(result):
    environment = result["environment"]
    assert environment["device"] == "cpu"
    assert environment["torch"].startswith(torch.__version__.partition("+")[0])
    assert environment["gpu"] is None or environment["gpu"]["name"]


def test_a_section_that_fails_is_a_row_and_what_came_before_it_stays(tmp_path):
    output = tmp_path / "result.json"
    report = Report(output, {}, 60)

    def breaks():
        yield {"name": "first"}
        raise RuntimeError("out of memory")

    report.run("one", breaks)
    report.run("two", lambda: iter([{"name": "second"}]))
    sections = json.loads(output.read_text())["sections"]
    assert sections["one"]["rows"] == [{"name": "first"}, {"error": "RuntimeError: out of memory"}]
    assert sections["two"]["rows"] == [{"name": "second"}]
    assert report.failures == 1


def test_a_later_run_of_other_sections_keeps_the_earlier_ones(tmp_path):
    output = tmp_path / "result.json"
    Report(output, {}, 60).run("one", lambda: iter([{"name": "first"}]))
    late = Report(output, {}, -1)
    for section in ("one", "two"):
        late.run(section, lambda: iter([{"name": "never"}]))
    assert late.rows("one") == [{"name": "first"}]
    assert "not begun" in late.rows("two")[0]["error"]
    assert late.failures == 2


def test_a_row_that_tells_of_an_error_is_a_failure():
    report = Report(None, {}, 60)
    report.run("parts", lambda: iter([{"name": "one"}, {"name": "two", "error": "out of memory"}]))
    assert report.failures == 1


def test_another_card_s_results_are_not_mixed_with_these(tmp_path):
    output = tmp_path / "result.json"
    Report(output, {"gpu": {"name": "one"}}, 60).run("limits", lambda: iter([{"name": "first"}]))
    before = output.read_text()
    with pytest.raises(ValueError, match=r"'one'.* expected those of .*'another'"):
        Report(output, {"gpu": {"name": "another"}}, 60)
    assert output.read_text() == before


def test_a_gpu_that_is_not_there_is_said_at_once(capsys):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(SystemExit):
        main(["--device", "cuda"])
    assert "got cuda, and torch finds no GPU" in capsys.readouterr().err
