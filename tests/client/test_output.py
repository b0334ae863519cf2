"""Trying where a command is going to write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packshot.cli.output import check_output, make_folder


def test_runs_that_begin_together_do_not_take_each_others_folder_away(tmp_path):
    def begin(folder: Path) -> bool:
        check_output(folder, folder)
        make_folder(folder, folder)
        return folder.is_dir()

    folders = [tmp_path / str(number // 4) / "out" for number in range(400)]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(begin, folders))
