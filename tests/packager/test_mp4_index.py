"""The index of an MP4 says exactly what reading its packets would, or says nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from packager import mp4_index
from packager.source import open_source
from packager.tracks import Track, demuxed
from tests.packager import films
from tests.packager.films import Film, Sound


def indexed(path: Path) -> dict[int, Track] | None:
    return mp4_index.read(str(path), lambda: None)


def read_through(path: Path) -> dict[int, Track]:
    with open_source(str(path)) as container:
        return demuxed(container, lambda: None)


def said(tracks: dict[int, Track]) -> dict[int, tuple[Any, ...]]:
    """All that the probe takes from a track; of sound, which comes after the picture, only its ends."""
    return {
        index: (
            (track.pts, track.keys) if index == 0 else (min(track.pts, default=0), max(track.pts, default=0)),
            (track.last, track.last_duration),
            track.cues,
            track.gops.facts() if track.gops else None,
        )
        for index, track in tracks.items()
    }


def remuxed(path: Path, source: Path, *arguments: str) -> Path:
    command = [get_ffmpeg_exe(), "-v", "error", "-i", source, "-map", "0", "-c", "copy", *arguments, "-y", path]
    subprocess.run(command, check=True, timeout=60)
    return path


@pytest.mark.parametrize(
    "film",
    [
        Film(),
        Film(options={"bf": "0"}),
        Film(options={"bf": "4", "x264-params": "b-pyramid=normal:keyint=40:b-adapt=0"}, gop=40),
        Film(start=Fraction(2), sounds=(Sound(4),)),
        Film(sounds=(Sound(1), Sound(5, start=1.0, language="swe"))),
        Film(codec="mpeg4", ticks=30000),
        Film(times=tuple(Fraction(n * n, 900) for n in range(60))),
        Film(sounds=()),
    ],
    ids=["plain", "no B-frames", "pyramid", "late", "short and late sound", "another codec", "variable", "silent"],
)
@pytest.mark.parametrize("name", ["film.mp4", "film.mov"])
def test_the_index_says_what_the_packets_say(film: Film, name: str, tmp_path: Path) -> None:
    path = films.make(tmp_path / name, film)
    tracks = indexed(path)
    assert tracks and said(tracks) == said(read_through(path))


def test_cues_are_read_without_the_rest(tmp_path: Path) -> None:
    plain = films.subtitled(tmp_path / "film.mkv", [(0.5, 1.5, "one"), (2.0, 2.5, "two")])
    path = remuxed(tmp_path / "film.mp4", plain, "-c:s", "mov_text")
    tracks = indexed(path)
    assert tracks and said(tracks) == said(read_through(path))
    assert [len(track.cues) for track in tracks.values()] == [0, 0, 2]


def test_an_edit_list_that_hides_frames_is_seen(tmp_path: Path) -> None:
    path = remuxed(tmp_path / "cut.mp4", films.make(tmp_path / "film.mp4"), "-ss", "0.5")
    late = remuxed(tmp_path / "late.mp4", films.make(tmp_path / "film.mp4"), "-ss", "-0.5")
    for edited in (path, late):
        tracks = indexed(edited)
        assert tracks is None or said(tracks) == said(read_through(edited))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def _grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"rubbish")


def _other_times(path: Path) -> None:
    """Composition offsets that don't belong to the frames: the first is said to be a frame later than FFmpeg was told."""
    data = path.read_bytes()
    path.write_bytes(data.replace(b"ctts", b"cttx"))


@pytest.mark.parametrize("harm", [_cut, _grown, _other_times])
def test_what_does_not_fit_is_read_through_instead(harm: Callable[[Path], None], tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.mp4", Film(), movflags="+faststart")
    harm(path)
    tracks = indexed(path)
    assert tracks is None or said(tracks) == said(read_through(path))
    assert harm is not _cut or tracks is None


@pytest.mark.parametrize(
    "arguments", [("-movflags", "+frag_keyframe+empty_moov"), ("-f", "matroska"), ("-f", "mpegts")]
)
def test_other_containers_and_fragments_are_read_through(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert indexed(remuxed(tmp_path / "film.mp4", films.make(tmp_path / "plain.mp4"), *arguments)) is None
