"""Recorded data for perf_analyzer: of its format, and what the real server answers.

The tool itself is asked where it is installed. Everywhere its requests are built after its sources
(``src/infer_data_manager.cc``, ``src/infer_context.cc``): what an entry holds with a batch axis in front, all
outputs asked for by name, and decoupled models over a stream with an empty final response.
"""

from __future__ import annotations

import base64
import copy
import json
import queue
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import triton_to_np_dtype

from benchmarks.perf_analyzer.__main__ import main, write
from benchmarks.perf_analyzer.commands import LOADS, caches, commands, data_file, script
from benchmarks.perf_analyzer.input_data import check, document, served_inputs
from benchmarks.perf_analyzer.recording import SCENES
from packshot import InvalidArgument
from packshot.contract import MODELS
from packshot.family import Manifest
from packshot_serving.launcher import TritonServer
from tests.families import ROOT, exported

ANSWER_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def server():
    with TritonServer(exported("tiny-sd2")[1], drain=False) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with InferenceServerClient(server.grpc_address) as client:
        yield client


@pytest.fixture(scope="module")
def files(client, tmp_path_factory) -> list[Path]:
    """As the command writes them."""
    output = tmp_path_factory.mktemp("perf_analyzer") / "new"
    return write(client, Manifest.read(exported("tiny-sd2")[1]).family, 64, output)


@pytest.fixture(scope="module")
def recorded(files) -> dict[str, dict]:
    """Each model's document."""
    return {file.stem: json.loads(file.read_text()) for file in files}


def inputs_of(client: InferenceServerClient, model: str, entries: list[dict]) -> list[InferInput]:
    """A batch of entries as the tool sends it."""
    inputs = []
    for name, served in served_inputs(client, model).items():
        if name not in entries[0]:
            continue
        array = np.stack([decoded(entry[name], served.datatype) for entry in entries])
        inputs.append(InferInput(name, array.shape, served.datatype))
        inputs[-1].set_data_from_numpy(array)
    return inputs


def decoded(tensor: dict, datatype: str) -> np.ndarray:
    if datatype == "BYTES":
        return np.array([text.encode() for text in tensor["content"]], np.object_).reshape(tensor["shape"])
    raw = base64.b64decode(tensor["content"]["b64"])
    return np.frombuffer(raw, np.dtype(triton_to_np_dtype(datatype)).newbyteorder("<")).reshape(
        tensor["shape"]
    )


def answer(client: InferenceServerClient, model: str, entries: list[dict]):
    """The last response to a batch of entries; raises tritonclient's exception if it is refused."""
    inputs = inputs_of(client, model, entries)
    outputs = [InferRequestedOutput(tensor.name) for tensor in client.get_model_metadata(model).outputs]
    if not MODELS[model].decoupled:
        return client.infer(model, inputs, outputs=outputs, client_timeout=ANSWER_TIMEOUT_S)
    answers: queue.Queue = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    try:
        client.async_stream_infer(
            model, inputs, outputs=outputs, request_id="1", enable_empty_final_response=True
        )
        while True:
            result, error = answers.get(timeout=ANSWER_TIMEOUT_S)
            if error:
                raise error
            if result.get_response().parameters["triton_final_response"].bool_param:
                return result
    finally:
        client.stop_stream()


def cache_hits(client: InferenceServerClient) -> dict[str, int]:
    statistics = client.get_inference_statistics()
    return {each.name: each.inference_stats.cache_hit.count for each in statistics.model_stats}


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_requests_enough_no_two_the_same_and_the_tool_takes_them(client, recorded, model):
    entries = recorded[model]["data"]
    assert len(entries) >= len(SCENES)
    assert len({json.dumps(entry) for entry in entries}) == len(entries)
    check(recorded[model], model, served_inputs(client, model))


@pytest.mark.parametrize("model", MODELS)
def test_the_server_answers_every_request_and_caches_as_the_readme_warns(client, recorded, model):
    before = cache_hits(client)
    # The last response of the decoupled one has no progress any more.
    wanted = {"generated_image"} if MODELS[model].decoupled else {each.name for each in MODELS[model].outputs}
    for entry in recorded[model]["data"]:
        last = answer(client, model, [entry])
        for name in wanted:
            array = last.as_numpy(name)
            assert array is not None
            assert array.size
    after = cache_hits(client)
    assert [name for name in MODELS if after[name] > before[name]] == caches(model)


@pytest.mark.parametrize(
    ("ensemble", "output", "last", "its_output"),
    [
        ("generate", "generated_image", "vae_decoder", "image"),
        ("segment", "low_res_masks", "sam_decoder", "low_res_masks"),
    ],
)
def test_what_the_last_model_was_asked_is_what_the_ensemble_asks_it(
    client, recorded, ensemble, output, last, its_output
):
    for whole, part in zip(recorded[ensemble]["data"], recorded[last]["data"], strict=True):
        wanted = answer(client, ensemble, [whole]).as_numpy(output)
        np.testing.assert_array_equal(answer(client, last, [part]).as_numpy(its_output), wanted)


@pytest.mark.parametrize("model", [name for name in MODELS if MODELS[name].max_batch_size > 1])
def test_requests_can_be_sent_in_batches(client, recorded, model):
    batch = recorded[model]["data"][: MODELS[model].max_batch_size]
    last = answer(client, model, batch)
    for tensor in MODELS[model].outputs:
        assert len(last.as_numpy(tensor.name)) == len(batch) > 1


def test_bytes_are_little_endian_and_row_major():
    numbers = np.asfortranarray(np.array([[1, 2], [3, 4]], ">i4"))
    (entry,) = document([{"x": numbers, "prompt": np.array(["café".encode()], np.object_)}])["data"]
    raw = bytes([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0])
    assert entry["x"] == {"content": {"b64": base64.b64encode(raw).decode()}, "shape": [2, 2]}
    assert entry["prompt"] == {"content": ["café"], "shape": [1]}


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        ("vae_encoder", lambda d: d["data"][0]["image"].update(shape=[1, 64, 64, 3]), r"vae_encoder\[0\].image: got \[1,64,64,3\], expected \[-1,-1,3\]"),
        ("vae_encoder", lambda d: d["data"][0]["image"].update(shape=[64, 192]), r"got \[64,192\], expected \[-1,-1,3\]"),
        ("vae_encoder", lambda d: d["data"][2]["image"].update(shape=[64, 48, 4]), r"vae_encoder\[2\].image: got \[64,48,4\]"),
        ("vae_encoder", lambda d: d["data"][0]["image"].update(shape=[64, 32, 3]), "got 12288 bytes, expected 6144 for UINT8"),
        ("text_encoder", lambda d: d["data"][1]["input_ids"].update(shape=[76]), r"got \[76\], expected \[77\]"),
        ("vae_decoder", lambda d: d["data"][1]["latents"].update(shape=[4, 4, 16]), r"expected .* like vae_decoder\[0\]"),
        ("generate", lambda d: d["data"][0]["prompt"]["content"].append("b"), "got 2 texts, expected 1"),
        ("generate", lambda d: d["data"][0].update(prompt=d["data"][0]["seed"]), "got base64, expected BYTES"),
        ("generate", lambda d: d["data"][0].update(seed=d["data"][0]["prompt"]), "got text, expected INT64"),
        ("vae_encoder", lambda d: d["data"][1].pop("mask_image"), r"vae_encoder\[1\].mask_image: got nothing, expected UINT8"),
        ("generate", lambda d: d["data"][3].pop("image"), r"expected .* like generate\[0\]"),
        ("generate", lambda d: d["data"][3].pop("seed"), r"expected .* like generate\[0\]"),
        ("tokenizer", lambda d: d["data"][0].update(seed=d["data"][0]["prompt"]), "got seed, expected some of prompt"),
        ("tokenizer", lambda d: d["data"].clear(), "tokenizer: data"),
        ("tokenizer", lambda d: d.update(validation_data=[]), "validation_data"),
        ("text_encoder", lambda d: d["data"][0]["input_ids"].pop("shape"), "'shape' is a required property"),
        ("text_encoder", lambda d: d["data"][0]["input_ids"].update(content={"b64": "AAA"}), "data/0/input_ids/content"),
    ],
)  # fmt: skip
def test_what_the_tool_would_refuse_is_found(client, recorded, model, change, message):
    changed = copy.deepcopy(recorded[model])
    change(changed)
    with pytest.raises(InvalidArgument, match=message):
        check(changed, model, served_inputs(client, model))


def test_every_model_has_its_command_lines_in_the_readme():
    assert set(LOADS) == set(MODELS)
    readme = (ROOT / "benchmarks/perf_analyzer/README.md").read_text()
    assert f"```sh\n{script()}```" in readme, "python -m benchmarks.perf_analyzer.commands prints the block"


@pytest.mark.parametrize("model", MODELS)
def test_command_lines_keep_the_tools_rules(model):
    """Those of ``CLParser::VerifyOptions`` and of ``PerfAnalyzer::CreateAnalyzerObjects``."""
    sweep, poisson = (line.split() for line in commands(model))
    for words in (sweep, poisson):
        assert words[:3] == ["perf_analyzer", "-m", model]
        assert words[words.index("-i") + 1] == "grpc"
        assert Path(next(word for word in words if "--input-data=" in word).partition("=")[2]).stem == model
        assert ("--streaming" in words) == MODELS[model].decoupled
        ranges = [word.partition("=")[2] for word in words if "-range=" in word]
        assert len(ranges) == 1, "one load mode at a time"
        start, end, step = map(float, ranges[0].split(":"))
        assert 0 < start < end
        assert step > 0
    assert "--async" in poisson
    assert ("--async" in sweep) == MODELS[model].decoupled


@pytest.mark.skipif(shutil.which("perf_analyzer") is None, reason="perf_analyzer is not installed")
@pytest.mark.parametrize("model", MODELS)
def test_the_tool_itself_takes_data_and_command_lines(server, files, model):
    """Of each range one value, and few requests: the whole of them would take minutes."""
    for line in commands(model):
        line = line.replace("localhost:8001", server.grpc_address)
        line = line.replace(str(data_file(model)), str(data_file(model, files[0].parent)))
        line = re.sub(r"concurrency-range=\S+", "concurrency-range=2 --request-count=10", line)
        line = re.sub(r"rate-range=\S+", "rate-range=10 --request-count=10", line)
        told = subprocess.run(line.split(), capture_output=True, text=True, timeout=ANSWER_TIMEOUT_S)
        assert told.returncode == 0, told.stdout + told.stderr[-1000:]
        assert "1 stream/streams with" in told.stdout
        assert "throughput: 0 infer/sec" not in told.stdout


def test_what_cannot_be_recorded_is_said_at_once(tmp_path, capsys):
    assert main([str(tmp_path), "--output", str(tmp_path / "out")]) == 5
    assert "no packshot.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_canvas_that_the_family_does_not_paint_on_is_refused(client, tmp_path):
    family = Manifest.read(exported("tiny-sd2")[1]).family
    with pytest.raises(InvalidArgument, match="canvas: got 60x60, expected sides from 64"):
        write(client, family, 60, tmp_path / "out")
    assert not (tmp_path / "out").exists()
