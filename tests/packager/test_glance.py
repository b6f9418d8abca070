"""What the beginning of a file proves, and above all what it doesn't: a film that will be fine is never warned of."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import pytest

from packager import beginnings
from packager.glance import glance
from tests.packager import films
from tests.packager.films import Film, Sound

SHORT = Film(seconds=1, sounds=(Sound(seconds=1),))
NAMES = ["film.mp4", "film.mov", "film.mkv", "film.webm", "film.avi", "film.ts", "film.flv"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("glance")


def beginning(folder: Path, data: bytes, share: float = 1.0) -> str:
    path = folder / "arriving"
    path.write_bytes(data[: round(len(data) * share)])
    return str(path)


def code(path: str, size: int | None) -> str | None:
    told = glance(path, size)
    assert told is None or all(told[name] for name in ("code", "title", "detail"))
    return told["code"] if told else None


@pytest.mark.parametrize("name", NAMES)
def test_films_that_are_whole_are_never_warned_of_wherever_they_are_looked_at(folder: Path, name: str) -> None:
    codecs = {"webm": ("libvpx-vp9", "libopus"), "avi": ("mpeg4", "mp2"), "flv": ("flv", "aac")}
    video, sound = codecs.get(name.rpartition(".")[2], ("libx264", "aac"))
    options = {"deadline": "realtime", "cpu-used": "8"} if video == "libvpx-vp9" else {}
    film = Film(seconds=1, codec=video, sounds=(Sound(seconds=1, codec=sound),), options=options)
    data = films.make(folder / name, film).read_bytes()
    for share in (0.02, 0.3, 0.7, 1.0):
        for size in (len(data), None):
            assert code(beginning(folder, data, share), size) is None, share


@pytest.mark.parametrize("movflags", ["", "faststart", "frag_keyframe+empty_moov"])
def test_an_index_at_the_end_in_front_or_in_pieces_is_fine(folder: Path, movflags: str) -> None:
    data = films.make(folder / "index.mp4", SHORT, movflags).read_bytes()
    for share in (0.05, 0.5, 1.0):
        assert code(beginning(folder, data, share), len(data)) is None


def test_a_film_that_lost_its_end_before_it_was_sent_is_told(folder: Path) -> None:
    end, front = (
        films.make(folder / f"{flags or 'end'}.mp4", SHORT, flags).read_bytes() for flags in ("", "faststart")
    )
    avi = films.make(folder / "cut.avi", Film(seconds=1, codec="mpeg4", sounds=())).read_bytes()
    mkv = films.make(folder / "cut.mkv", SHORT).read_bytes()
    for data in (end, front, avi, mkv):
        assert code(beginning(folder, data, 0.3), round(len(data) * 0.5)) == "cut_off"
        assert code(beginning(folder, data, 0.3), None) is None, "who doesn't say the size may still send it"
    assert code(beginning(folder, front, 0.5), len(front) - 10) is None, "what plays without its last bytes"


def test_a_recording_that_was_interrupted_has_no_index(folder: Path) -> None:
    data = films.make(folder / "camera.mp4", SHORT).read_bytes()
    at = data.index(b"mdat") - 4
    media = data[: at + struct.unpack_from(">I", data, at)[0]]
    assert code(beginning(folder, media, 0.5), len(media)) == "no_index"
    endless = media[:at] + b"\0\0\0\0" + media[at + 4 :]
    assert code(beginning(folder, endless, 0.5), len(endless)) == "no_index"


def test_sound_without_a_picture_is_told_where_the_header_lists_all_tracks(folder: Path) -> None:
    film = Film(seconds=1, video=False, sounds=(Sound(seconds=1),))
    for name, movflags in (("sound.mp4", "faststart"), ("sound.mkv", "")):
        data = films.make(folder / name, film, movflags).read_bytes()
        assert code(beginning(folder, data, 0.9), len(data)) == "no_video"
    data = films.make(folder / "sound.ts", film).read_bytes()
    assert code(beginning(folder, data, 0.9), len(data)) is None, "a picture may still come"


def test_a_picture_without_a_decoder_is_told(folder: Path) -> None:
    data = films.make(folder / "odd.mp4", SHORT, "faststart").read_bytes()
    assert code(beginning(folder, data.replace(b"avc1", b"zzz9"), 0.9), len(data)) == "unsupported_codec"


@pytest.mark.parametrize(
    "head",
    [b"%PDF-1.7\n", b"PK\x03\x04\x14\0", b"Rar!\x1a\x07\0", b"7z\xbc\xaf\x27\x1c\0", b"\x1f\x8b\x08\0", b"\x89PNG\r\n\x1a\n", b"GIF89a",
     b"RIFF\0\0\1\0WEBPVP8 ", b"\xff\xd8\xff\xe0\0\x10JFIF\0", b"\xef\xbb\xbf<!DOCTYPE html>", b"#EXTM3U\n#EXT-X-VERSION:3\n", b"\x7fELF\2\1\1"],
)  # fmt: skip
def test_what_is_something_else_is_called_by_its_name(folder: Path, head: bytes) -> None:
    assert code(beginning(folder, head + os.urandom(100_000)), 200_000) == "not_a_film"


@pytest.mark.parametrize(
    "data", [b"", b"x", b"notes, not a film" * 1000, bytes(100_000), b"ID3\4\0\0\0\x7f\x7f\x7f" + bytes(50_000)]
)
def test_what_is_only_strange_is_left_for_the_encode_to_judge(folder: Path, data: bytes) -> None:
    assert code(beginning(folder, data), 10_000_000) is None


def test_hostile_boxes_and_numbers_end_the_look_and_nothing_else() -> None:
    ftyp = struct.pack(">I4s8s", 16, b"ftyp", b"isom\0\0\0\0")
    for box in (
        b"\0\0\0\1mdat\0\0\0\0\0\0\0\1",
        b"\0\0\0\7moov",
        b"\0\0\0\1moov" + b"\xff" * 8,
        b"\0\0\0\x08free" * 20_000,
    ):
        assert beginnings.cut(io.BytesIO(ftyp + box), len(ftyp + box), 1 << 40) is None
    for width in range(256):
        data = b"\x1a\x45\xdf\xa3" + bytes([width]) + b"\xff" * 40
        assert beginnings.cut(io.BytesIO(data), len(data), 10) is None
