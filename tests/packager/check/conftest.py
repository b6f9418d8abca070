"""Good packages for all tests of the checker, copied before they are harmed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from packager.passthrough import TAKEN
from packager.pipeline import Options
from tests.packager import tiny
from tests.packager.encoding import encode
from tests.packager.films import Film, Sound


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tiny.Renditions]:
    root = tmp_path_factory.mktemp("package")
    renditions = tiny.renditions(root, seconds=18)
    renditions.write(root)
    return root, renditions


@pytest.fixture
def good(original: tuple[Path, tiny.Renditions], tmp_path: Path) -> Path:
    return Path(shutil.copytree(original[0], tmp_path / "good"))


@pytest.fixture(scope="session")
def remuxed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    film = Film(seconds=4, size=(1280, 720), gop=60, sounds=(Sound(4),), options={"crf": "30", "preset": "veryfast"})
    made = encode(tmp_path_factory.mktemp("passed"), film, options=Options())
    assert TAKEN in made.package.report["decisions"]
    return made.folder


@pytest.fixture
def passed(remuxed: Path, tmp_path: Path) -> Path:
    """A package whose only variant of the top size, 720 lines, is the upload's own picture."""
    return Path(shutil.copytree(remuxed, tmp_path / "passed"))


@pytest.fixture
def renditions(original: tuple[Path, tiny.Renditions]) -> tiny.Renditions:
    return original[1]
