"""Sound comes out about equally loud, by one gain for the whole of a track, and the editor is told. The ffmpeg program's meter is the judge."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray

from packager import listen, loudness, pipeline
from packager import plan as planning
from packager.attempt import finished_chunks
from packager.loudness import Loudness
from packager.plan import AUDIO_RATE, Options
from tests.packager import films
from tests.packager.encoding import PREFIX, Made, encode, encode_file
from tests.packager.films import Film, Sound

Wave = NDArray[np.float32]
UNTOUCHED = Options(loudness=None)
PEAK_SLACK = 0.5  # dB above -1 dBTP that AAC may add at 128 kb/s to sound that was limited hard


@dataclass(frozen=True)
class Metered:
    """What ffmpeg's ebur128 says: LUFS and dBTP."""

    integrated: float
    peak: float


def metered(path: Path) -> Metered:
    command = [
        get_ffmpeg_exe(), "-nostats", "-i", str(path), "-vn", "-af", "ebur128=peak=true:framelog=quiet", "-f", "null", "-",
    ]  # fmt: skip
    said = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stderr
    found = {words[0]: words[1] for line in said.splitlines() if len(words := line.split()) == 3}
    return Metered(float(found["I:"]), float(found["Peak:"]))


def noise(seconds: float, channels: int = 2, seed: int = 1) -> Wave:
    """Nearer to speech than white noise, most of which AAC would drop: falling by 6 dB an octave, in syllables."""
    count = round(seconds * AUDIO_RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal((channels, count)), axis=1)
    spectrum /= np.maximum(np.arange(spectrum.shape[1]) / seconds, 200)
    syllables = 1.2 + np.sin(2 * np.pi * 4 * np.arange(count) / AUDIO_RATE)
    wave = np.fft.irfft(spectrum, count, axis=1) * syllables
    return (wave / np.abs(wave).max()).astype(np.float32)


def recorded(path: Path, wave: Wave, lufs: float | None = None, layout: str = "stereo") -> Path:
    """The wave as a file of 32-bit samples, brought to a loudness exactly."""
    films.recording(path, wave, layout)
    return (
        path if lufs is None else films.recording(path, wave * 10 ** ((lufs - metered(path).integrated) / 20), layout)
    )


def told(made: Made, rendition: str = "a1-128k") -> Loudness:
    indexes = finished_chunks(made.store, PREFIX)
    (found,) = [i.loudness for (of, _), i in sorted(indexes.items()) if of == rendition and i.loudness]
    return found


def result(made: Made, rendition: str = "a1-128k") -> Metered:
    """Of what a player would decode."""
    path = made.folder / f"{rendition}.mp4"
    path.write_bytes(films.joined(made.store, PREFIX, rendition))
    return metered(path)


def said(made: Made) -> str:
    (sentence,) = [note for note in made.package.report["decisions"] if "level" in note or "LUFS" in note]
    return str(sentence)


# name: (LUFS of the source, LUFS that must come out, words of the report)
LEVELS = {
    "very quiet": (-35.0, -23.0, "raised by 12.0 dB, the most we raise,"),
    "quiet": (-28.0, -18.0, "raised by 10.0 dB to"),
    "a little quiet": (-20.0, -18.0, "raised by 2.0 dB to"),
    "near enough": (-18.8, -18.8, "its level was left as it is"),
    "loud": (-9.0, -18.0, "lowered by 9.0 dB to"),
    "nearly silent": (-60.0, -60.0, "silent or nearly so"),
}


@pytest.mark.parametrize("case", LEVELS)
def test_sound_is_brought_near_the_target_and_never_over_the_ceiling(case: str, tmp_path: Path) -> None:
    source, due, words = LEVELS[case]
    made = encode_file(recorded(tmp_path / "film.wav", noise(8), source), tmp_path, films.PLAIN)
    assert words in said(made)
    for rendition in ("a1-128k", "a1-48k"):
        found = result(made, rendition)
        assert abs(found.integrated - due) <= 1
        assert found.peak <= -1 or found.peak <= metered(made.source).peak + PEAK_SLACK
    assert abs((told(made).result or 0) - result(made).integrated) <= 0.5


def test_peaks_that_a_gain_lifts_over_the_ceiling_are_caught_between_the_samples_too(tmp_path: Path) -> None:
    """Clicks of 12 kHz whose samples miss their tops by 3 dB, far above quiet noise."""
    wave = noise(8) * 0.3
    click = np.sin(np.pi / 2 * np.arange(480) + np.pi / 4) * 0.9
    for at in range(0, wave.shape[1] - 480, 4 * AUDIO_RATE):
        wave[:, at : at + 480] += click.astype(np.float32)
    made = encode_file(recorded(tmp_path / "film.wav", wave, -27), tmp_path, films.PLAIN)
    assert told(made).gain == 9.0 and metered(made.source).peak > -9, metered(made.source)
    assert result(made).peak <= -1 + PEAK_SLACK
    assert (told(made).result or 0) <= -18, "the limiter takes away, and that is told"


def test_a_gain_moves_no_sample(tmp_path: Path) -> None:
    """Raised through the limiter, lowered without it, or left alone: as long as before, and every sample in its place."""
    wave = noise(3)
    for lufs in (-30.0, -9.0):
        source = recorded(tmp_path / f"{lufs}.wav", wave, lufs)
        before = encode_file(source, tmp_path / f"before{lufs}", films.PLAIN, UNTOUCHED)
        after = encode_file(source, tmp_path / f"after{lufs}", films.PLAIN)
        (start, plain), (begin, gained) = (films.samples(made.store, PREFIX, "a1-128k") for made in (before, after))
        assert start == begin == 0 and plain.shape == gained.shape
        assert lag(plain[0], gained[0]) == 0


def lag(one: Wave, other: Wave) -> int:
    """Samples by which `other` comes later."""
    spectrum = np.conj(np.fft.rfft(one.astype(float))) * np.fft.rfft(other.astype(float))
    at = int(np.argmax(np.fft.irfft(spectrum, len(one))))
    return at if at < len(one) // 2 else at - len(one)


def test_sound_near_the_target_is_encoded_bit_by_bit_as_if_nobody_had_listened(tmp_path: Path) -> None:
    source = recorded(tmp_path / "film.wav", noise(3), -18.5)
    left = encode_file(source, tmp_path / "left", films.PLAIN)
    untouched = encode_file(source, tmp_path / "untouched", films.PLAIN, UNTOUCHED)
    assert films.joined(left.store, PREFIX, "a1-128k") == films.joined(untouched.store, PREFIX, "a1-128k")
    assert not [note for note in untouched.package.report["decisions"] if "LUFS" in note]


def test_silence_stays_silence(tmp_path: Path) -> None:
    made = encode_file(
        recorded(tmp_path / "film.wav", np.zeros((2, 3 * AUDIO_RATE), np.float32)), tmp_path, films.PLAIN
    )
    _, wave = films.samples(made.store, PREFIX, "a1-128k")
    assert not wave.any() and told(made) == Loudness(None, 0.0, None)
    assert "silent or nearly so" in said(made)


def test_half_a_second_is_enough_to_be_measured(tmp_path: Path) -> None:
    made = encode_file(recorded(tmp_path / "film.wav", noise(0.5), -25), tmp_path, films.PLAIN)
    assert abs(result(made).integrated + 18) <= 1


def test_a_long_film_whose_first_half_is_silent_is_judged_by_the_other(tmp_path: Path) -> None:
    wave = np.concatenate([np.zeros((2, 60 * AUDIO_RATE), np.float32), noise(60)], axis=1)
    made = encode_file(recorded(tmp_path / "film.wav", wave, -27), tmp_path, films.PLAIN)
    assert abs((told(made).measured or 0) + 27) <= 1
    assert abs(result(made).integrated + 18) <= 1


def test_surround_is_judged_by_its_stereo_mix(tmp_path: Path) -> None:
    made = encode_file(recorded(tmp_path / "film.wav", noise(4, 6) * 0.2, layout="5.1"), tmp_path, films.PLAIN)
    assert told(made).gain > 0 and abs(result(made).integrated + 18) <= 1


def test_each_track_has_its_own_gain(tmp_path: Path) -> None:
    sounds = (Sound(seconds=3, level=0.5), Sound(seconds=3, level=0.15))
    made = encode(tmp_path, Film(sounds=sounds), "film.mkv")
    assert told(made, "a1-128k").gain < 0 < told(made, "a2-128k").gain
    assert abs((told(made, "a1-128k").result or 0) - (told(made, "a2-128k").result or 0)) <= 1


@pytest.fixture(scope="module")
def swelling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Louder in the middle third; the picture's key frames lie further apart than the windows."""
    film = Film(seconds=120, rate=Fraction(5), gop=100, sounds=(Sound(seconds=120, level=0.1, swell=0.4),))
    return films.make(tmp_path_factory.mktemp("swelling") / "film.mkv", film)


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_windows_of_a_long_film_tell_what_the_whole_would(container: str, swelling: Path, tmp_path: Path) -> None:
    source = films.join(tmp_path / f"film.{container}", [swelling])
    (track,) = plan_of(source).audio
    assert abs((listen.measure(str(source), track, lambda: None) or 0) - metered(source).integrated) <= 1


def plan_of(source: Path) -> planning.Plan:
    return planning.make(pipeline.probe(source), "0" * 64, Options())


def test_a_file_that_cannot_be_searched_is_judged_by_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = np.concatenate([noise(90), np.zeros((2, 60 * AUDIO_RATE), np.float32)], axis=1)
    source = recorded(tmp_path / "film.wav", wave, -27)
    (track,) = plan_of(source).audio
    monkeypatch.setattr(listen, "_seek", lambda container, to: False)
    assert abs((listen.measure(str(source), track, lambda: None) or 0) + 27) <= 1


def test_an_encode_that_goes_on_uses_the_gain_it_began_with(tmp_path: Path) -> None:
    made = encode_file(recorded(tmp_path / "film.wav", noise(14), -26), tmp_path, films.PLAIN)
    before, kept = told(made), films.joined(made.store, PREFIX, "a1-48k")
    for name in ("a1-48k/0001.json", "a1-128k/0000.json", "master.m3u8"):
        made.store.delete(f"{PREFIX}/{name}")
    again = encode_file(made.source, tmp_path, films.PLAIN)
    assert told(again) == told(again, "a1-48k") == before
    assert again.package == made.package
    assert films.joined(again.store, PREFIX, "a1-48k") == kept


@given(st.floats(-80, 10), st.floats(-30, -10))
def test_a_gain_goes_towards_the_target_and_not_past_it_nor_up_without_end(measured: float, target: float) -> None:
    gain = loudness.gain(measured, target)
    assert gain <= loudness.MOST_DB and gain * (target - measured) >= 0
    assert abs(gain) <= abs(target - measured) + 0.05
    assert gain == 0 or measured >= loudness.ALMOST_SILENT


@given(st.floats(-1000, 1000), st.floats(0, 90_000))
def test_windows_lie_in_the_track_in_order_and_are_few(start: float, length: float) -> None:
    windows = loudness.windows(start, start + length)
    edges = [edge for window in windows for edge in window]
    assert edges == sorted(edges) and start <= edges[0] and edges[-1] <= start + length
    assert sum(end - first for first, end in windows) <= loudness.WHOLE_S + 0.001


@pytest.mark.parametrize(
    "fields",
    [{}, {"measured": "x", "gain": 0, "result": None}, {"measured": None, "gain": float("nan"), "result": None}, 7],
)
def test_nonsense_from_a_child_is_refused(fields: object) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Loudness.from_fields(fields)  # type: ignore[arg-type]
