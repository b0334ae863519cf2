"""The command line, as a shell and a program meet it."""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import EntryPoint, version
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from packshot import PackshotError, read_made_by
from packshot.cli import connection, extensions, main
from packshot.errors import ServerStartError
from tests.client.fake_triton import FakeTriton, Status, failing, paint_seed
from tests.client.pictures import texture


@pytest.fixture
def packshot(folder, triton, monkeypatch, capsys):
    """Run the command; exit status, standard output, standard error."""

    def run(*arguments: str, server: str | None = triton.address) -> tuple[int, str, str]:
        named = ("--server", server) if server else ()
        monkeypatch.setattr(sys, "argv", ["packshot", *arguments, *named])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def describe(path: str) -> tuple[str, tuple[int, int]]:
    with Image.open(path) as image:
        return image.mode, image.size


SHOOT = ("shoot", "cup.png", "--prompt", "a cup", "--canvas", "96x64", "--output", "out", "--seed", "7")


def test_cutout_writes_a_png_with_transparency_and_prints_its_path(packshot):
    status, out, err = packshot("cutout", "photo.png", "--point", "5,5", "--output", "new/cut.png")
    assert (status, out, err) == (0, "new/cut.png\n", "")
    assert describe("new/cut.png") == ("RGBA", (120, 80))


def test_points_boxes_and_background_points_reach_sam(packshot, triton):
    status, _, _ = packshot(
        "cutout", "photo.png", "--point", "30,30", "--point", "60,40", "--background-point", "10,10",
        "--box", "0,0,120,80", "--output", "cut.png",
    )  # fmt: skip
    assert status == 0
    assert triton.arrays("segment")[0]["point_labels"].tolist() == [1, 1, 0, 2, 3]


def test_cutout_can_take_another_of_sams_masks_and_tell_in_json(packshot):
    status, out, err = packshot(
        "cutout", "photo.png", "--point", "5,5", "--rank", "2", "--output", "cut.png", "--json"
    )
    document = json.loads(out)
    assert (status, err) == (0, "")
    assert (document["path"], document["rank"]) == ("cut.png", 2)
    assert document["iou"] == pytest.approx(0.5)
    assert document["timings_s"]["cut_out"] > 0


def test_shoot_writes_one_png_for_each_seed(packshot):
    status, out, err = packshot(*SHOOT, "--num-images", "2")
    assert (status, out, err) == (0, "out/cup-7.png\nout/cup-8.png\n", "")
    assert describe("out/cup-8.png") == ("RGB", (96, 64))
    assert read_made_by("out/cup-8.png")["seed"] == 8


def test_a_finished_picture_stays_when_another_one_fails(packshot, triton):
    def second_fails(arrays):
        if arrays["seed"].item() == 7:
            return paint_seed(arrays)
        deadline = time.monotonic() + 5
        while not Path("out/cup-7.png").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        raise Status(grpc.StatusCode.DEADLINE_EXCEEDED, "too slow")

    triton.models["generate"] = second_fails
    status, out, _ = packshot(*SHOOT, "--num-images", "2")
    assert (status, out) == (4, "")
    assert [path.name for path in Path("out").iterdir()] == ["cup-7.png"]
    assert read_made_by("out/cup-7.png")["seed"] == 7


def test_shoot_in_json_tells_paths_seeds_parameters_and_timings(packshot, triton):
    status, out, err = packshot(
        *SHOOT, "--json", "--num-inference-steps", "3", "--guidance-scale", "2", "--scheduler", "euler",
        "--controlnet-conditioning-scale", "1", "--negative-prompt", "blurry", "--strength", "0.7",
        "--guidance-end", "0.8", "--priority", "2",
    )  # fmt: skip
    document = json.loads(out)
    assert (status, err) == (0, "")
    (shot,) = document["shots"]
    assert (
        shot.items()
        >= {
            "path": "out/cup-7.png",
            "seed": 7,
            "prompt": "a cup",
            "negative_prompt": "blurry",
            "num_inference_steps": 3,
            "guidance_scale": 2.0,
            "controlnet_conditioning_scale": 1.0,
            "scheduler": "euler",
            "strength": 0.7,
            "guidance_end": 0.8,
        }.items()
    )
    assert [name for name, _ in triton.calls] == ["vae_encoder", "generate"]
    assert triton.arrays("generate")[0]["priority"].item() == 2
    assert set(shot["timings_s"]) == {"compose", "canny", "encode", "generate", "paste"}
    assert document["timings_s"]["shoot"] > 0


def test_a_photo_is_cut_out_first(packshot, triton):
    status, out, _ = packshot("shoot", "photo.png", *SHOOT[2:], "--box", "0,0,120,80")
    assert (status, out) == (0, "out/photo-7.png\n")
    assert [name for name, _ in triton.calls] == ["segment", "generate"]


def test_each_file_has_its_place_from_back_to_front(packshot, triton):
    Image.fromarray(np.full((20, 20, 4), (0, 0, 255, 254), np.uint8)).save("blue.png")
    Image.fromarray(np.full((40, 40, 4), (255, 0, 0, 254), np.uint8)).save("red.png")
    status, _, _ = packshot(
        "shoot", "red.png", "blue.png", *SHOOT[2:],
        "--place", "x=.5,y=.5,scale=.8", "--place", "y=.5,scale=native,rotation_degree=90",
    )  # fmt: skip
    assert status == 0
    image = triton.arrays("generate")[0]["image"]
    assert image[32, 48].tolist()[2] > 250
    assert image[32, 30].tolist()[0] > 250


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cutout", "photo.png", "--output", "cut.png"), "prompt: got no points and no boxes"),
        (("cutout", "no.png", "--point", "5,5", "--output", "cut.png"), "photo no.png: got no such file"),
        (("cutout", "photo.png", "--point", "5;5", "--output", "cut.png"), "--point: got '5;5', expected X,Y"),
        (("cutout", "photo.png", "--point", "500,5", "--output", "cut.png"), "points[0]: got 500,5"),
        (("cutout", "photo.png", "--box", "1,2,3", "--output", "c.png"), "--box: got '1,2,3', expected X0,Y0,X1,Y1"),
        (("cutout", "photo.png", "--point", "5,5", "--output", "cut.jpg"), "--output: got cut.jpg, expected a name"),
        (("cutout", "photo.png", "--point", "5,5", "--rank", "3", "--output", "c.png"), "--rank: got 3, expected an integer from 0 to 2"),
        ((*SHOOT, "--canvas", "96"), "--canvas: got '96', expected WxH"),
        ((*SHOOT, "--canvas", "100x64"), "canvas: got 100x64, expected sides from 64 to 256, multiples of 8"),
        ((*SHOOT, "--place", "z=1"), "--place: got 'z=1', expected x=…"),
        ((*SHOOT, "--place", "x=1,x=2"), "--place: got 'x=1,x=2'"),
        ((*SHOOT, "--place", "scale=big"), "--place: got 'scale=big'"),
        ((*SHOOT, "--place", "scale=0"), "placement.scale: got 0.0"),
        ((*SHOOT, "--place", "x=.1", "--place", "x=.2"), "--place: got 2 for 1 files, expected one for each file"),
        (("shoot", "cup.png", *SHOOT[1:]), "--place: got 0 for 2 files"),
        ((*SHOOT, "--point", "5,5"), "--point or --box: got only cut-outs to apply them to, expected one photo"),
        (("shoot", "photo.png", *SHOOT[2:]), "photo.png: got a photo without transparency, expected a --point or --box"),
        ((*SHOOT, "--num-inference-steps", "0"), "num_inference_steps: got 0"),
        ((*SHOOT, "--scheduler", "magic"), "scheduler: got 'magic'"),
        ((*SHOOT, "--strength", "0.03"), "strength: got 0.03, expected at least 1/25"),
        ((*SHOOT, "--guidance-end", "2"), "guidance_end: got 2.0"),
        ((*SHOOT, "--priority", "3"), "priority: got 3, expected an integer from 1 to 2"),
        ((*SHOOT, "--num-images", "0"), "num_images: got 0"),
        ((*SHOOT, "--timeout-s", "0"), "options.timeout_s: got 0"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_status_2(packshot, arguments, message):
    status, out, err = packshot(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"packshot: error: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (*SHOOT, "--output", "photo.png"),
        (*SHOOT, "--output", "photo.png/out"),
        (*SHOOT, "--output", "x" * 300),
        (*SHOOT, "--output", "/proc/nowhere/out"),
        ("cutout", "photo.png", "--point", "5,5", "--output", "photo.png/cut.png"),
        ("cutout", "photo.png", "--point", "5,5", "--output", "folder.png"),
        ("cutout", "photo.png", "--point", "5,5", "--output", "new/" + "x" * 300 + ".png"),
        ("cutout", "photo.png", "--point", "5,5", "--rank", "7", "--output", "cut.png"),
        (*SHOOT, "--num-images", "0"),
        (*SHOOT, "--seed", "-1"),
    ],
)
def test_what_can_be_refused_is_refused_before_a_server_is_started(packshot, folder, monkeypatch, arguments):
    monkeypatch.setattr(connection, "embedded_server", lambda: pytest.fail("a server was started"))
    (folder / "folder.png").mkdir()
    before = sorted(folder.iterdir())
    status, out, err = packshot(*arguments, server=None)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "expected a" in err
    assert sorted(folder.iterdir()) == before, "nothing is left of the attempt"


def test_two_photos_to_cut_out_are_refused(packshot):
    Image.fromarray(texture(50, 50)).save("other.png")
    status, _, err = packshot("shoot", "photo.png", "other.png", *SHOOT[2:], "--box", "1,1,9,9")
    assert status == 2
    assert (
        "PHOTO_OR_CUTOUT: got 2 photos without transparency (photo.png, other.png), expected at most one"
        in err
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 4),
        (grpc.StatusCode.NOT_FOUND, 5),
        (grpc.StatusCode.INTERNAL, 8),
    ],
)
def test_the_exit_status_tells_whose_fault_it_is(packshot, triton, code, status):
    triton.models["generate"] = failing(1, code, "why", paint_seed)
    assert packshot(*SHOOT)[0] == status


def test_no_server_is_status_3(packshot):
    with FakeTriton() as gone:
        address = gone.address
    status, _, err = packshot(*SHOOT, "--timeout-s", "0.5", server=address)
    assert (status, err) == (3, f"packshot: error: {address}: no server answers there\n")


def test_the_environment_names_a_server(packshot, triton, monkeypatch):
    monkeypatch.setenv("PACKSHOT_SERVER", triton.address)
    assert packshot(*SHOOT, server=None)[0] == 0


def test_without_a_server_one_is_started_and_stopped_again(packshot, monkeypatch):
    started = []

    class Embedded(FakeTriton):
        def __init__(self, repository: Path, *, drain: bool) -> None:
            super().__init__()
            assert not drain, "there are no other callers to wait for"
            started.append((repository, self))
            self.grpc_address, self.stopped = self.address, False

        def stop(self) -> None:
            self.stopped = True
            super().stop()

    monkeypatch.setattr(connection, "embedded_server", lambda: Embedded)
    status, out, _ = packshot(*SHOOT, "--json", "--repository", "elsewhere", server=None)
    ((repository, server),) = started
    assert status == 0
    assert json.loads(out)["timings_s"]["server_start"] >= 0
    assert repository == Path("elsewhere")
    assert server.stopped


def test_a_server_that_does_not_start_is_status_6(packshot, monkeypatch):
    def broken(repository: Path, *, drain: bool) -> None:
        raise ServerStartError("port 8001 is taken")

    monkeypatch.setattr(connection, "embedded_server", lambda: broken)
    assert packshot(*SHOOT, server=None)[::2] == (6, "packshot: error: port 8001 is taken\n")


def test_an_unforeseen_error_is_not_swallowed(folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["packshot", *SHOOT])
    monkeypatch.setattr(connection, "embedded_server", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main()


def test_a_missing_extra_tells_how_to_get_it(packshot, monkeypatch):
    entry_point = EntryPoint("export", "no_such_library:export", extensions.COMMANDS)
    monkeypatch.setattr(extensions, "entry_points", lambda **_: _Registered([entry_point]))
    status, _, err = packshot("export", "--anything", server=None)
    assert status == PackshotError.exit_code
    assert err == (
        "packshot: error: export needs no_such_library, which is not installed: pip install 'packshot[export]'\n"
    )


def test_a_fault_in_our_own_packages_is_not_taken_for_a_missing_extra(packshot, monkeypatch):
    entry_point = EntryPoint("export", "packshot_export.no_such_module:export", extensions.COMMANDS)
    monkeypatch.setattr(extensions, "entry_points", lambda **_: _Registered([entry_point]))
    monkeypatch.setattr(sys, "argv", ["packshot", "export"])
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        main()


class _Registered(list):
    """What ``entry_points`` answers."""

    @property
    def names(self) -> set[str]:
        return {one.name for one in self}


def test_the_version_is_the_distributions(packshot):
    assert packshot("--version", server=None) == (0, f"{version('packshot')}\n", "")


def test_help_tells_the_commands_and_what_the_exit_status_means(packshot):
    status, out, _ = packshot("--help", server=None)
    assert status == 0
    for command in ("cutout", "shoot", "serve", "export"):
        assert command in out
    assert "8 server failed" in " ".join(out.split())
