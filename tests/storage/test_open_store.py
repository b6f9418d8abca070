"""A URL names the backend; what is wrong with it is said at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from storage import open_store
from storage.local import LocalStore
from storage.memory import MemoryStore
from storage.s3 import S3Store


def test_a_folder_can_be_a_path_or_a_url(tmp_path: Path) -> None:
    for url in (str(tmp_path / "my media"), f"file://{tmp_path}/my%20media"):
        store = open_store(url)
        assert isinstance(store, LocalStore)
        assert store.root == tmp_path / "my media"


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("out")
    monkeypatch.chdir("/")
    store.put("a.vtt", b"1", type="text/vtt")
    assert (tmp_path / "out" / "a.vtt").exists()


def test_memory_and_s3() -> None:
    assert isinstance(open_store("memory:"), MemoryStore)
    assert isinstance(open_store("s3://bucket/prefix?endpoint=http://127.0.0.1:1&region=x"), S3Store)


@pytest.mark.parametrize("url", ["ftp://host/folder", "s3://bucket?endpiont=http://127.0.0.1", "s3://bucket/a//b"])
def test_wrong_urls_are_refused(url: str) -> None:
    with pytest.raises(Exception, match="ftp|endpiont|key"):
        open_store(url)


def test_a_folder_does_not_cost_an_import_of_boto3(tmp_path: Path) -> None:
    code = (
        f"import sys; from storage import open_store; open_store({str(tmp_path)!r}); assert 'boto3' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
