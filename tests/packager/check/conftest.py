"""One good package for all tests of the checker, copied before it is harmed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.packager import tiny


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tiny.Renditions]:
    root = tmp_path_factory.mktemp("package")
    renditions = tiny.renditions(root, seconds=18)
    renditions.write(root)
    return root, renditions


@pytest.fixture
def good(original: tuple[Path, tiny.Renditions], tmp_path: Path) -> Path:
    return Path(shutil.copytree(original[0], tmp_path / "good"))


@pytest.fixture
def renditions(original: tuple[Path, tiny.Renditions]) -> tiny.Renditions:
    return original[1]
