"""How soon a film can be watched: seconds from the begin of its encode to the first published stage.

    python -m benchmarks.start [--seconds 10 600 3600] [--pairs 5]

Sources whose pictures pass through must not care for the length of the film; each is made by repeating the benchmark's source. One that has to
be encoded is compared with what the static ffmpeg takes for the first 6 s at 360p, in turn, since machines differ. The source's hash is given, as
the server knows it from the upload.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import ffmpeg

from benchmarks.memory import repeat
from benchmarks.transcode import build_source, run_ffmpeg
from packager import pipeline
from packager.errors import Cancelled
from packager.pipeline import Options, Published
from storage import open_store

DIGEST = "0" * 64
SEGMENT_S, SHORT = 6, 360


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 600, 3600])
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        minute = build_source(folder, 60)
        for seconds in arguments.seconds:
            film = minute if seconds == 60 else _film(minute, folder, seconds)
            _print(f"passed through, {seconds} s", [_ours(film, folder, True) for _ in range(arguments.pairs)])
        pairs = [(_ours(minute, folder, False), _theirs(minute, folder)) for _ in range(arguments.pairs)]
        _print("encoded", [ours for ours, _ in pairs])
        _print("ffmpeg, 6 s at 360p", [theirs for _, theirs in pairs])
        _print("the difference", [ours - theirs for ours, theirs in pairs])


def _film(minute: Path, folder: Path, seconds: int) -> Path:
    """As long as asked: a source of its own, or whole minutes."""
    if seconds < 60:
        short = folder / "short"
        short.mkdir(exist_ok=True)
        return build_source(short, seconds)
    film = folder / "film.mp4"
    repeat(minute, film, seconds / 60)
    os.sync()  # an upload is on the disk before its job begins
    return film


def _print(what: str, seconds: list[float]) -> None:
    print(f"{what:24} {statistics.median(seconds):.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})", flush=True)


def _ours(film: Path, folder: Path, passthrough: bool) -> float:
    """Seconds to the first stage; the encode is stopped there."""
    begun, told = time.monotonic(), list[float]()

    def published(news: Published) -> None:
        told.append(time.monotonic() - begun)

    try:
        pipeline.encode(
            film, open_store(str(folder)), f"out-{time.monotonic_ns()}", published=published,
            cancelled=lambda: bool(told), options=Options(passthrough=passthrough), source_sha256=DIGEST,
        )  # fmt: skip
    except Cancelled:
        pass
    return told[0]


def _theirs(film: Path, folder: Path) -> float:
    begun = time.monotonic()
    picture = ffmpeg.input(str(film), t=SEGMENT_S)
    run_ffmpeg(
        ffmpeg.output(picture.video.filter("scale", -2, SHORT), picture.audio, str(folder / "theirs.mp4"), vcodec="libx264", preset="veryfast", acodec="aac")
    )  # fmt: skip
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
