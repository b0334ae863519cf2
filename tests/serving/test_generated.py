"""The committed files are what the contract says."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from packshot.family import Manifest
from packshot_serving.generated import committed_family, generated_files, main
from tests.families import exported

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_the_source_tree(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_committed_files_are_up_to_date():
    for path, text in generated_files(*committed_family()).items():
        assert path.read_text() == text, f"{path}: run `make generated`"


def test_check_notices_a_difference(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = Path("model_repository/generate/config.pbtxt")
    config.parent.mkdir(parents=True)
    config.write_text((ROOT / config).read_text())
    assert main(["--check"]) == 1
    assert "docs/tensors.md: not what the contract says" in capsys.readouterr().err
    assert not Path("docs").exists()
    assert main([]) == 0
    assert main(["--check"]) == 0


def test_the_committed_configs_are_valid_for_the_newest_triton():
    for path in sorted(Path("model_repository").rglob("config.pbtxt")):
        config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        assert config.name == path.parent.name


def test_an_exported_repository_has_configs_of_its_own_family():
    repository = exported("tiny-sd2")[1]
    text = (repository / "denoiser/config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.parameters["family"].string_value == Manifest.read(repository).family.to_json()
