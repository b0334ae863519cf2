"""A server of a comparator's own repository."""

from __future__ import annotations

import pytest

from packshot import ServerStartError
from packshot_bench.bare_server import bare_server


def test_a_model_that_does_not_load_is_told_with_its_reason(tmp_path):
    model = tmp_path / "broken" / "1"
    model.mkdir(parents=True)
    (model.parent / "config.pbtxt").write_text('backend: "python"')
    (model / "model.py").write_text("import a_package_that_is_not_there")
    with pytest.raises(ServerStartError, match="a_package_that_is_not_there"), bare_server(tmp_path):
        pass
