"""Encode a generated film and look at what came out; shared by the tests that do so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from packager import pipeline
from packager.check import check
from packager.pipeline import Options, Package
from packager.publish import RenditionFacts
from storage.base import ObjectStore
from storage.local import LocalStore
from tests.packager import films
from tests.packager.films import BEEP_EVERY_S, Film, Shown, Sound

SMALL = Options(segments_per_chunk=1, passthrough=False)
PREFIX = "asset/version"


@dataclass(frozen=True)
class Made:
    """A package and what it was made from."""

    film: Film
    source: Path
    store: ObjectStore
    package: Package
    folder: Path

    def kind(self, kind: str) -> list[RenditionFacts]:
        return [rendition for rendition in self.package.renditions if rendition.kind == kind]

    def shown(self, rendition: RenditionFacts) -> list[Shown]:
        return films.shown(self.store, PREFIX, rendition.name)

    def onsets(self, rendition: RenditionFacts) -> list[float]:
        return films.onsets(*films.samples(self.store, PREFIX, rendition.name))


def encode(folder: Path, film: Film, name: str = "film.mp4", options: Options = SMALL) -> Made:
    source = films.make(folder / name, film)
    return encode_file(source, folder, film, options)


def encode_file(source: Path, folder: Path, film: Film, options: Options = SMALL) -> Made:
    store = LocalStore(folder / "media")
    package = pipeline.encode(source, store, PREFIX, options=options)
    return Made(film, source, store, package, folder / "media" / PREFIX)


def assert_obeys_the_rules(made: Made) -> None:
    """`packager check` finds nothing that a player could stumble over."""
    broken = [finding for finding in check(str(made.folder)).findings if finding.severity == "must"]
    assert not broken, broken


def assert_right_frames(made: Made, origin: Fraction, tolerance: int = 0, rate: Fraction | None = None) -> None:
    """Every frame of every rung shows the number that the source shows at that time; `origin` is the film's zero on the source's clock."""
    stamps = made.film.stamps
    if made.film.interlaced:
        stamps = tuple(stamp + field / (2 * made.film.rate) for stamp in stamps for field in (0, 1))
    for rendition in made.kind("video"):
        seen = made.shown(rendition)
        assert seen[0].time == 0
        for frame in seen:
            assert frame.number is not None, f"{rendition.name} at {frame.time}: not upright, or no picture of ours"
            at = origin + Fraction(frame.time).limit_denominator(90000) + Fraction(1, 500)
            due = max(0, sum(stamp <= at for stamp in stamps) - 1)
            assert abs(frame.number - due) <= tolerance, f"{rendition.name} at {frame.time}: {frame.number}, not {due}"
        end = seen[-1].time + 1 / float(Fraction(rendition.frame_rate or 1))
        assert rendition.frame_rate is None or rate is None or Fraction(rendition.frame_rate) in (rate, rate / 2)
        assert end <= made.package.duration_s + 0.6


def assert_in_sync(made: Made, sound: Sound, origin: Fraction, rendition: RenditionFacts, within: float = 0.02) -> None:
    """Each beep of the source is heard at its time, with the frame the source shows then, and nothing else is heard."""
    heard = made.onsets(rendition)
    assert len(heard) == len(beeps(sound, origin)), (heard, beeps(sound, origin))
    for due, onset in zip(beeps(sound, origin), heard, strict=True):
        assert abs(onset - due) <= within, (heard, beeps(sound, origin))


def beeps(sound: Sound, origin: Fraction) -> list[float]:
    """When beeps begin in the film, not counting one cut short by the track's own end."""
    first, last = Fraction(sound.start), Fraction(sound.start) + Fraction(sound.seconds)
    times: Iterable[Fraction] = (
        n * BEEP_EVERY_S for n in range(int(first / BEEP_EVERY_S), int(last / BEEP_EVERY_S) + 1)
    )
    return [float(time - origin) for time in times if max(first, origin) <= time < last - Fraction(2, 100)]
