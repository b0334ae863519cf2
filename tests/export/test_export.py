"""An export is complete and in place, or there is nothing of it."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from packshot.contract import ARTIFACTS, MODELS, TOKENIZER_FILE
from packshot.errors import ExportError, InvalidArgument
from packshot.family import MANIFEST_FILE, Manifest
from packshot_export import export, onnx_graph, parity
from packshot_export.cases import Case
from packshot_export.components import components
from packshot_export.text_cases import text_encoder_cases
from packshot_export.text_graph import TextEncoder
from tests.export.conftest import parts_of


@pytest.fixture
def without_graphs(monkeypatch):
    """Exports that trace nothing: all of the rest in a moment."""
    monkeypatch.setattr(export, "components", lambda parts: iter(()))


def export_to(repository: Path, checkpoints: Path) -> Manifest:
    return export.export_repository(
        checkpoints / "diffusion", [checkpoints / "controlnet"], checkpoints / "sam", repository
    )


@pytest.fixture
def broken_sam(checkpoints, tmp_path) -> Path:
    """Checkpoints with a SAM whose encoder answers NaN."""
    target = tmp_path / "checkpoints"
    shutil.copytree(checkpoints, target)
    weights = target / "sam" / "model.safetensors"
    tensors = load_file(weights)
    tensors["vision_encoder.neck.conv1.weight"].fill_(float("nan"))
    save_file(tensors, weights, metadata={"format": "pt"})
    return target


def test_an_export_that_fails_leaves_nothing_behind(broken_sam, tmp_path):
    with pytest.raises(ExportError, match=r"sam_encoder\.image_embeddings .* NaN or infinity in fp32"):
        export_to(tmp_path / "out" / "repository", broken_sam)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_new_repository_is_complete(without_graphs, checkpoints, tmp_path):
    repository = tmp_path / "deep" / "repository"
    manifest = export_to(repository, checkpoints)
    assert Manifest.read(repository) == manifest
    assert manifest.family.name == "diffusion"
    assert set(manifest.artifacts) == {TOKENIZER_FILE}
    for name in MODELS:
        assert (repository / name / "config.pbtxt").is_file(), name
    assert [path.name for path in repository.parent.iterdir()] == ["repository"]
    # Relocatable, and nobody's business where it was made.
    assert str(tmp_path) not in (repository / MANIFEST_FILE).read_text()


def test_a_repository_is_replaced_and_its_hidden_files_stay(without_graphs, checkpoints, tmp_path):
    repository = tmp_path / "repository"
    (repository / "sam_encoder" / "1").mkdir(parents=True)
    (repository / "sam_encoder" / "1" / "model.onnx").write_bytes(b"old")
    (repository / ".gitignore").write_text("*.onnx\n")
    export_to(repository, checkpoints)
    assert not (repository / ARTIFACTS["sam_encoder"]).exists()
    assert (repository / ".gitignore").read_text() == "*.onnx\n"
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]


def test_what_is_not_a_repository_is_not_replaced(without_graphs, checkpoints, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InvalidArgument, match=r"holds thesis\.tex, which no packshot repository has"):
        export_to(tmp_path, checkpoints)
    with pytest.raises(InvalidArgument, match="is a file, expected a directory"):
        export_to(tmp_path / "thesis.tex", checkpoints)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_mount_point_is_refused_before_the_work(without_graphs, checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    with pytest.raises(InvalidArgument, match="is a mount point, expected a directory in it"):
        export_to(tmp_path, checkpoints)
    export_to(tmp_path / "repository", checkpoints)


def test_a_full_disk_is_told_and_leaves_nothing_behind(checkpoints, tmp_path, monkeypatch):
    def full(module, example, graph, dims, canvas, path):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half a graph")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export, "write_graph", full)
    with pytest.raises(ExportError, match=r"repository cannot be written: .*No space left on device"):
        export_to(tmp_path / "out" / "repository", checkpoints)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_terminated_export_leaves_nothing_behind(checkpoints, tmp_path):
    parts = [f"--{part}={checkpoints / part}" for part in ("diffusion", "controlnet", "sam")]
    command = [Path(sys.executable).with_name("packshot"), "export", *parts, f"--repository={tmp_path}/one"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not any(tmp_path.iterdir()):
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait() == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_a_repository_that_cannot_be_replaced_stays_as_it_was(
    without_graphs, checkpoints, tmp_path, monkeypatch
):
    repository = tmp_path / "repository"
    (repository / "sam_encoder").mkdir(parents=True)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if Path(target) == repository and self.name == "repository":
            raise OSError(16, "Device or resource busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ExportError, match="cannot be put in place: Device or resource busy"):
        export_to(repository, checkpoints)
    assert [path.name for path in repository.iterdir()] == ["sam_encoder"]
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]


def test_a_folder_that_cannot_be_made_is_told(without_graphs, checkpoints, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=r"cannot be written: .*File exists"):
        export_to(tmp_path / "file" / "repository", checkpoints)


def test_no_controlnet_is_refused(checkpoints, tmp_path):
    with pytest.raises(InvalidArgument, match="controlnet: got none, expected at least one"):
        export.export_repository(checkpoints / "diffusion", [], checkpoints / "sam", tmp_path / "repository")


def test_a_graph_that_answers_otherwise_is_refused_with_difference_and_tolerance(family):
    _, repository = family
    path = repository / ARTIFACTS["vae_decoder"]
    latents = torch.zeros(1, 4, 8, 8)
    wrong = Case("zeros", {"latents": latents}, {"image": torch.zeros(1, 64, 64, 3, dtype=torch.uint8)})
    message = r"vae_decoder\.image \(zeros\): differs from the original model by \d+, tolerance 1"
    with pytest.raises(ExportError, match=message):
        parity.check("vae_decoder", path, [wrong], "fp32")
    other = Case("floats", {"latents": latents}, {"image": torch.zeros(1, 64, 64, 3)})
    with pytest.raises(ExportError, match=r"got uint8\[1, 64, 64, 3\], the original model says float32"):
        parity.check("vae_decoder", path, [other], "fp32")


def test_weights_beyond_two_gigabytes_go_into_a_file_of_their_own(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "_LARGEST_SINGLE_FILE", 1000)
    parts = parts_of(checkpoints)
    encoder = next(part for part in components(parts) if part.graph.name == "text_encoder")
    export.export_component(encoder, tmp_path, parts)  # ONNX Runtime finds them, or the proof fails
    folder = (tmp_path / ARTIFACTS["text_encoder"]).parent
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "model.onnx.data"]


def test_a_text_encoder_that_wants_an_attention_mask_gets_it(checkpoints):
    parts = parts_of(checkpoints)
    original = parts.load_text_encoder()
    unmasked = [case.outputs["prompt_embeds"] for case in text_encoder_cases(original, parts.tokenizer)]
    original.config.use_attention_mask = True
    module = TextEncoder(original, parts.tokenizer.eos_token_id)
    for case, other in zip(text_encoder_cases(original, parts.tokenizer), unmasked, strict=True):
        found = module(**case.inputs)["prompt_embeds"]
        torch.testing.assert_close(found, case.outputs["prompt_embeds"], atol=1e-5, rtol=0)
        assert not torch.allclose(found, other, atol=1e-2)
