"""Directories and hub ids: what was found is recorded, what cannot be found is one clear sentence."""

from __future__ import annotations

import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, OfflineModeIsEnabled

from packshot.errors import InvalidArgument
from packshot.family import Checkpoint
from packshot_export import checkpoints
from packshot_export.checkpoints import open_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub whose answers a test decides: files by name, or an error to raise."""

    class Hub:
        def __init__(self):
            self.files: dict[str, str] = {}
            self.error: Exception | None = None
            self.asked: list[tuple[str, str]] = []

        def download(self, repo_id, filename, *, revision):
            self.asked.append((f"{repo_id}@{revision}", filename))
            if self.error:
                raise self.error
            if filename not in self.files:
                raise EntryNotFoundError(filename)
            path = tmp_path / "snapshots" / COMMIT / filename
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.files[filename])
            return str(path)

    hub = Hub()
    monkeypatch.setattr(checkpoints, "hf_hub_download", hub.download)
    return hub


def test_a_directory_is_recorded_by_its_name_alone(tmp_path):
    (tmp_path / "my-sam").mkdir()
    (tmp_path / "my-sam" / "README.md").write_text("---\nlicense: mit\n---\nText\n")
    source = open_source("sam", str(tmp_path / "my-sam"))
    assert source.checkpoint() == Checkpoint("my-sam", None, "mit")


@pytest.mark.parametrize("card", ["No metadata at all\n", "---\nlicense: [unclosed\n---\n"])
def test_a_licence_that_cannot_be_read_is_left_out(tmp_path, card):
    (tmp_path / "README.md").write_text(card)
    assert open_source("sam", str(tmp_path)).checkpoint().license is None


def test_a_hub_id_is_recorded_with_its_commit_and_licence(hub):
    hub.files = {"config.json": "{}", "README.md": "---\nlicense: openrail++\n---\n"}
    source = open_source("controlnet.0", "someone/canny@v1")
    assert source.checkpoint() == Checkpoint("someone/canny", COMMIT, "openrail++")
    # All that follows comes from the commit that the name meant first.
    assert hub.asked == [("someone/canny@v1", "config.json"), (f"someone/canny@{COMMIT}", "README.md")]


@pytest.mark.parametrize("text", ["no-such-directory", "./missing", "/missing/too", "a/b/c", "~/models"])
def test_a_directory_that_does_not_exist_is_refused(text):
    with pytest.raises(InvalidArgument, match=r"sam: got .*, expected a directory that exists, or a hub id"):
        open_source("sam", text)


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("x"), OfflineModeIsEnabled("x"), OSError("x")])
def test_without_a_network_the_error_is_one_sentence(hub, error):
    hub.error = error
    with pytest.raises(InvalidArgument, match=r"someone/sam@main: the hub cannot be reached") as caught:
        open_source("sam", "someone/sam")
    assert "give a directory instead" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_hub_id_of_something_else_is_refused(hub):
    with pytest.raises(InvalidArgument, match=r"someone/text, which has no model_index\.json"):
        open_source("diffusion", "someone/text")
