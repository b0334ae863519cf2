"""Servers and folders that the client's tests talk to."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from packshot import Studio
from tests.client.fake_triton import FakeTriton
from tests.client.pictures import product, texture


@pytest.fixture
def triton():
    """A server that answers well until a test gives it another model."""
    with FakeTriton() as server:
        yield server


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with a photo, a cut-out, and nothing in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PACKSHOT_SERVER", raising=False)
    monkeypatch.delenv("PACKSHOT_REPOSITORY", raising=False)
    Image.fromarray(texture(120, 80)).save("photo.png")
    product().save("cup.png")
    return tmp_path


@pytest.fixture
def studio(triton):
    """A client of that server."""
    with Studio(triton.address) as studio:
        yield studio
