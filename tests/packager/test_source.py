"""Decoding by time from awkward containers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from packager import source
from packager.errors import SourceRefused
from packager.source import Decoder, open_source
from tests.packager import films
from tests.packager.films import Film, Sound, number_of, plane

SILENT = Film(sounds=())


def numbers(path: Path, seek: int | None = None, limit: int = 5) -> list[tuple[Fraction, int | None]]:
    found = []
    for time, frame in Decoder(str(path), 0).frames(seek):
        found.append((time, number_of(plane(frame))))
        if len(found) == limit:
            break
    return found


def test_frames_come_in_order_with_their_seconds(tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.mp4", SILENT)
    assert numbers(path, limit=90) == [(Fraction(n, 30), n) for n in range(90)]


def test_an_avi_without_presentation_times_keeps_the_order_of_its_b_frames(tmp_path: Path) -> None:
    """FFmpeg guesses 1, 3, 4, 2 for these: sorted, each frame gets its own time back."""
    found = numbers(films.make(tmp_path / "film.avi", SILENT), limit=90)
    assert [number for _, number in found] == list(range(90))
    steps = {b - a for (a, _), (b, _) in zip(found, found[1:], strict=False)}
    assert steps == {Fraction(1, 30)}


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts", "film.avi", "film.mov"])
@pytest.mark.parametrize("second", [0, 1, 2, 5])
def test_decoding_starts_not_after_the_moment_asked_for(name: str, second: int, tmp_path: Path) -> None:
    """MPEG-TS lands on a packet after the key frame; the decoder then seeks further back."""
    path = films.make(tmp_path / name, Film(seconds=6, sounds=(Sound(seconds=6),)))
    with open_source(str(path)) as container:
        base = container.streams.video[0].time_base
    assert base
    origin = next(Decoder(str(path), 0).frames(None))[0]
    wanted = origin + second
    first, frame = next(Decoder(str(path), 0).frames_before(round(wanted / base), wanted))
    shown = number_of(plane(frame))
    assert first <= wanted and shown is not None
    assert abs(Fraction(shown, 30) - (first - origin)) < Fraction(1, 100)


def test_a_moment_before_the_first_frame_gives_the_first_frame(tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.mkv", Film(start=Fraction(2), sounds=()))
    first, frame = next(Decoder(str(path), 0).frames_before(0, Fraction(0)))
    assert (first, number_of(plane(frame))) == (2, 0)


def test_damaged_packets_are_counted_and_stepped_over(tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.mov", Film(sounds=(), codec="png", pixels="rgb24", seconds=1))
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT", len(data) // 2)
    data[at - 20 : at + 4] = bytes(24)
    path.write_bytes(data)
    decoder = Decoder(str(path), 0)
    found = list(decoder.frames(None))
    assert decoder.damaged >= 1 and 20 <= len(found) < 30


def test_titles_in_old_code_pages_are_no_reason_to_refuse(tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.avi", Film(sounds=(), codec="mpeg4", seconds=0.5, title="Grün und süß"))
    data = path.read_bytes()
    assert "Grün".encode() in data
    path.write_bytes(data.replace("Grün und süß".encode(), "Grün und süß  ".encode("latin-1")))
    with open_source(str(path)) as container:
        assert container.streams.video


@pytest.mark.parametrize(
    "name", ["hls", "concat", "sdp", "image2", "dash", "lavfi", "rtsp", "applehttp", "tee", "data", "rawvideo"]
)
def test_formats_that_are_programs_are_not_on_the_list(name: str) -> None:
    assert name not in source.FORMATS.split(",")


def test_the_list_of_formats_is_the_one_that_was_reviewed() -> None:
    assert (
        source.FORMATS
        == "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,ogg,asf,mxf,flac,wav,mp3,aac,ac3,eac3"
    )


def test_what_is_no_media_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_text("dear diary " * 1000)
    with pytest.raises(SourceRefused, match="Export it as MP4"):
        open_source(str(path))
