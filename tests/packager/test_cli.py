"""The command as a person, a pipe and a machine use it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage import open_store
from tests.packager import films
from tests.packager.films import Film, Sound
from tests.packager.processes import alive, children, wait_until

COMMAND = [sys.executable, "-m", "packager.cli"]


def packager(*arguments: str | Path, **options: str) -> subprocess.CompletedProcess[str]:
    """Run the command with its output in pipes."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120, env={**os.environ, **options}
    )


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return films.make(tmp_path_factory.mktemp("film") / "my film.mp4", Film(seconds=2, sounds=(Sound(seconds=2),)))


@pytest.fixture(scope="module")
def encoded(film: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("encoded") / "out"
    return packager("encode", film, out), out


def sentence(text: str) -> str:
    """What stands on stderr if it is one line and no traceback."""
    assert text.count("\n") == 1 and "Traceback" not in text and text.startswith("packager: "), text
    return text.removeprefix("packager: ").strip()


def test_probe_says_what_a_film_holds(film: Path) -> None:
    ran = packager("probe", film)
    assert ran.returncode == 0 and ran.stderr == ""
    assert "h264 160x96, 30.000 fps, 60 frames" in ran.stdout and "audio 1: aac, 2 channels, 48000 Hz" in ran.stdout


def test_probe_answers_machines_in_json(film: Path) -> None:
    facts = json.loads(packager("probe", "--json", film).stdout)
    assert (facts["video"]["frames"], facts["video"]["codec"], len(facts["audio"])) == (60, "h264", 1)


def test_encode_ends_with_the_playlist_to_play(encoded: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    ran, out = encoded
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == f"{out}/master.m3u8" and (out / "master.m3u8").is_file()
    assert [path.name for path in out.parent.iterdir()] == ["out"], "nothing is left beside it"


def test_progress_in_a_pipe_is_plain_lines_on_stderr(encoded: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    lines = encoded[0].stderr.splitlines()
    assert lines[0] == "my film.mp4: probing 0 %" and lines[-1].startswith("my film.mp4: packaging 100 %")
    assert all(re.fullmatch(r"my film\.mp4: (probing|encoding|packaging) \d+ %( [\d.]+x.*)?", line) for line in lines)
    assert len(lines) <= 40 and "\x1b" not in encoded[0].stderr


def test_progress_for_machines_is_json_lines(film: Path, tmp_path: Path) -> None:
    ran = packager("encode", "--json", film, tmp_path / "out")
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == 0 and ran.stderr == ""
    assert {line["progress"]["stage"] for line in lines[:-1]} == {"probing", "encoding", "packaging"}
    assert lines[-1]["package"]["duration_s"] == 2.0 and lines[-1]["package"]["master"] == "master.m3u8"


def test_progress_on_a_terminal_is_a_bar(film: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "encode", str(film), str(tmp_path / "out")],
        stdout=subprocess.DEVNULL, stderr=theirs, stdin=theirs, env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that nobody holds the other end any more
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(60) == 0
    text = shown.decode()
    assert "━" in text and "100%" in text and "my film.mp4" in text and "\r" in text


def test_encoding_again_says_the_same(encoded: tuple[subprocess.CompletedProcess[str], Path], film: Path) -> None:
    again = packager("encode", film, encoded[1])
    assert (again.returncode, again.stdout) == (0, encoded[0].stdout)


def test_other_settings_do_not_mix_with_what_is_there(
    encoded: tuple[subprocess.CompletedProcess[str], Path], film: Path
) -> None:
    ran = packager("encode", "--max-short-side", "90", film, encoded[1])
    assert ran.returncode == 1 and "destination is taken" in sentence(ran.stderr.splitlines(keepends=True)[-1])


def test_check_finds_a_good_package_good(encoded: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    ran = packager("check", encoded[1])
    assert ran.returncode == 0 and "0 MUST" in ran.stdout


def test_check_says_which_broken_rules_do_not_bind_a_package(
    encoded: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    last = [packager("check", encoded[1] / name).stdout.splitlines()[-1] for name in ("grow.m3u8", "master.m3u8")]
    assert re.search(r"broken; not for this package: (\d+, )*37$", last[0]) and last[1].endswith("rules broken")


def test_check_names_the_rule_that_is_broken_and_exits_with_four(film: Path, tmp_path: Path) -> None:
    packager("encode", film, tmp_path / "out")
    (playlist,) = (tmp_path / "out").glob("v*/vod.m3u8")
    playlist.write_text(playlist.read_text().replace("#EXT-X-ENDLIST\n", ""))
    ran = packager("check", tmp_path / "out")
    assert ran.returncode == 4 and "rule 7" in ran.stdout
    found = json.loads(packager("check", "--json", tmp_path / "out").stdout)["findings"]
    assert {finding["rule"] for finding in found if finding["severity"] == "must"} >= {7}


REFUSED = {"text": b"hello, I am no film\n", "empty": b"", "cut off": b"\0\0\0\x20ftypisom"}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("command", ["probe", "encode"])
def test_a_refused_source_is_one_sentence_and_exit_three(command: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(content)
    rest = [tmp_path / "out"] if command == "encode" else []
    ran = packager(command, tmp_path / "film.mp4", *rest)
    assert ran.returncode == 3 and ran.stdout == ""
    assert sentence(ran.stderr.splitlines(keepends=True)[-1]).endswith(".")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    ran = packager("probe", tmp_path / "none.mp4")
    assert ran.returncode == 3 and "No such file" in sentence(ran.stderr)


def test_errors_for_machines_are_json_too(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("no film")
    ran = packager("probe", "--json", tmp_path / "film.mp4")
    assert ran.returncode == 3 and ran.stderr == ""
    assert json.loads(ran.stdout)["error"]["code"] == "not_media"


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode"], ["encode", "film.mp4"], ["sing"], ["probe", "--loud", "film.mp4"], ["encode", "film.mp4", "ftp://host/x"],
        ["encode", "film.mp4", "s3://bucket"], ["encode", "film.mp4", "out", "--max-short-side", "0"], ["encode", "film.mp4", "/"],
        ["encode", "film.mp4", "s3://bucket/x?endpont=http://127.0.0.1:1"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_exits_with_two(arguments: list[str], tmp_path: Path) -> None:
    ran = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert "Usage" in ran.stderr
    assert not list(tmp_path.iterdir()), "nothing is made before the usage is right"


def test_a_folder_may_have_any_name(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "Ünser film, 2nd cut"
    first, again = packager("encode", film, out), packager("encode", film, out)
    assert first.returncode == again.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == f"{out}/master.m3u8" and (out / "master.m3u8").is_file()
    assert list(tmp_path.iterdir()) == [out] and not (out / "@tmp").exists()
    assert packager("check", out).returncode == 0 and not (out / "@tmp").exists()


def test_storage_that_does_not_answer_is_one_sentence_and_exit_one(film: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_MAX_ATTEMPTS": "1"}
    ran = packager("encode", film, "s3://bucket/x?endpoint=http://127.0.0.1:9&region=us-east-1", **keys)
    assert ran.returncode == 1
    sentence(ran.stderr.splitlines(keepends=True)[-1])


def test_a_film_can_be_encoded_into_s3_and_checked_there(film: Path, s3_url: str) -> None:
    place, _, query = s3_url.partition("?")
    dest = f"{place.rstrip('/')}/films/one?{query}"
    ran = packager("encode", film, dest)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == f"{place.rstrip('/')}/films/one/master.m3u8"
    assert open_store(s3_url).head("films/one/master.m3u8").size
    assert packager("check", dest).returncode == 0


def test_an_interrupt_ends_the_command_and_its_children_without_a_traceback(tmp_path: Path) -> None:
    film = films.make(tmp_path / "film.mp4", Film(seconds=90, size=(480, 270), sounds=()))
    process = subprocess.Popen(
        [*COMMAND, "encode", str(film), str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background of a shell is born deaf to it
    )  # fmt: skip
    wait_until(lambda: list(tmp_path.glob("out/v*/*/*.m4s")) or process.poll() is not None, 60)
    begun = children(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode not in (0, None) and "Traceback" not in said, said
    wait_until(lambda: not any(map(alive, begun)), 5)
    assert not (tmp_path / "out" / "master.m3u8").exists()
