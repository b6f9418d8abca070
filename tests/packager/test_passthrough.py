"""Which films keep their own picture: each condition broken by a real file, and named in words."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imageio_ffmpeg import get_ffmpeg_exe

from packager import passthrough, timeline
from packager import plan as planning
from packager.facts import SourceFacts
from packager.ladder import Step
from packager.plan import Options, Plan
from packager.probe import probe
from tests.packager import films
from tests.packager.films import Film, Sound

F = Fraction
# Large enough for a rung below its own; few bits, so that the rate is that of a sane upload.
PLAIN = Film(seconds=4, size=(480, 270), gop=60, sounds=(Sound(4),), options={"crf": "30"})


def x264(film: Film = PLAIN, **options: str) -> Film:
    """The film with other settings of its encoder."""
    return replace(film, options={**film.options, **options})


def planned(facts: SourceFacts, **options: object) -> Plan:
    return planning.make(facts, "0" * 64, Options(passthrough=True, **options))  # type: ignore[arg-type]


def verdict(path: Path, **options: object) -> str:
    """Empty when the film's picture is passed through, else why not."""
    plan = planned(probe(str(path)), **options)
    assert plan.video
    taken = [rung.name for rung in plan.video.rungs if rung.passthrough]
    assert bool(taken) == (passthrough.TAKEN in plan.notes) and taken in ([], [plan.video.rungs[0].name])
    before, after = passthrough.REFUSED.split("{}")
    return "".join(note[len(before) : -len(after)] for note in plan.notes if note.startswith(before))


def ffmpeg(path: Path, *arguments: str | Path) -> Path:
    subprocess.run([get_ffmpeg_exe(), "-v", "error", *arguments, "-y", path], check=True, timeout=60)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> SourceFacts:
    return probe(str(films.make(tmp_path_factory.mktemp("plain") / "film.mp4", PLAIN)))


ACCEPTED = {
    "plain": PLAIN,
    "with a deep pyramid": x264(bf="7", **{"x264-params": "keyint=60:b-pyramid=normal:b-adapt=0:scenecut=0"}),
    "without B-frames": x264(bf="0"),
    "Baseline": x264(profile="baseline", bf="0"),
    "High": x264(preset="veryfast", profile="high"),
    "50 frames a second": replace(PLAIN, rate=F(50), gop=100),
    "24000/1001 frames a second": replace(PLAIN, rate=F(24000, 1001), gop=48, ticks=24000),
    "a key frame every 2 s and a frame": replace(PLAIN, gop=61),
    "key frames all over": replace(PLAIN, gop=7),
    "no sound": replace(PLAIN, sounds=()),
    "sound half a second longer": replace(PLAIN, sounds=(Sound(4.5),)),
    "picture a quarter of a second late": replace(PLAIN, start=F(1, 4)),
    "named colours": replace(PLAIN, colour=(1, 1, 1, 1)),
}


@pytest.mark.parametrize("film", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_sane_film_keeps_its_own_picture(film: Film, tmp_path: Path) -> None:
    assert verdict(films.make(tmp_path / "film.mp4", film)) == ""


@pytest.mark.parametrize("name", ["film.mov", "film.mkv", "film.ts", "film.flv"])
def test_whatever_its_container(name: str, tmp_path: Path) -> None:
    assert verdict(films.make(tmp_path / name, PLAIN)) == ""


REFUSED = {
    "turned": (replace(PLAIN, rotation=90), "it must be turned"),
    "oblong pixels": (replace(PLAIN, sar=F(4, 3)), "its pixels are not square"),
    "interlaced": (replace(PLAIN, interlaced=True, size=(480, 288)), "it is interlaced"),
    "ten bits": (replace(PLAIN, pixels="yuv420p10le"), "it is not 8-bit 4:2:0"),
    "4:4:4": (replace(PLAIN, pixels="yuv444p"), "it is not 8-bit 4:2:0"),
    "HEVC": (replace(PLAIN, codec="libx265", options={"x265-params": "log-level=none"}), "it is hevc video, not H.264"),
    "HDR": (replace(PLAIN, colour=(9, 16, 9, 1)), "it is HDR (PQ)"),
    "full range": (replace(PLAIN, colour=(1, 1, 1, 2)), "its colours are not in a form that every player shows alike"),
    "wide gamut": (replace(PLAIN, colour=(9, 1, 9, 1)), "its colours are not in a form that every player shows alike"),
    "key frames 5 s apart": (replace(PLAIN, seconds=6, gop=150), "its key frames are up to 5.0 s apart"),
    "key frames 2 s and two frames apart": (replace(PLAIN, gop=62), "its key frames are up to 2.1 s apart"),
    "open groups": (
        x264(**{"x264-params": "keyint=30:scenecut=0:open-gop=1:b-adapt=0"}),
        "frames before some of its key frames are needed behind them (open groups of pictures)",
    ),
    "varying": (replace(PLAIN, times=tuple(F(n * n, 3600) for n in range(120))), "its frame rate varies"),
    "120 frames a second": (
        replace(PLAIN, seconds=2, rate=F(120), gop=120),
        "its frame rate is not one that players expect",
    ),
    "two frames a second": (
        replace(PLAIN, rate=F(2), gop=4, ticks=1000),
        "its frame rate is not one that players expect",
    ),
    "an odd rate": (
        replace(PLAIN, rate=F(37, 2), gop=30, ticks=37000),
        "its frame rate is not one that players expect",
    ),
    "sound two seconds longer": (replace(PLAIN, sounds=(Sound(6),)), "its sound starts earlier or ends later"),
    "picture two seconds late": (replace(PLAIN, start=F(2)), "its sound starts earlier or ends later"),
}


@pytest.mark.parametrize(("film", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_a_broken_condition_is_named(film: Film, why: str, tmp_path: Path) -> None:
    assert verdict(films.make(tmp_path / "film.mp4", film)) == why


def test_a_picture_larger_than_asked_for_is_made_smaller(tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.mp4", PLAIN)
    assert verdict(path, max_short_side=240) == "it is larger than the largest rendition may be (480x270)"


def test_a_rate_beyond_its_size_is_encoded_anew(tmp_path: Path) -> None:
    noise = ("-f", "lavfi", "-i", "testsrc2=s=480x270:r=30:d=4,noise=alls=60:allf=t", "-g", "60", "-pix_fmt", "yuv420p")
    why = verdict(ffmpeg(tmp_path / "film.mp4", *noise, "-preset", "ultrafast", "-b:v", "1500k"))
    assert why.startswith("its bit rate of 2") and why.endswith("kb/s is too much for its size")


def test_a_rate_that_leaps_is_encoded_anew(tmp_path: Path) -> None:
    calm = "color=c=gray:s=480x270:r=30:d=36,noise=alls=60:allf=t:enable='gt(t,30)'"
    arguments = ("-f", "lavfi", "-i", calm, "-g", "60", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-crf", "45")
    why = verdict(ffmpeg(tmp_path / "film.mp4", *arguments))
    assert why.startswith("its bit rate peaks at ") and why.endswith(" times the average")


def _joined(folder: Path, *films_: Film) -> Path:
    """Elementary streams in one: each starts with its own parameter sets."""
    parts = []
    for number, film in enumerate(films_):
        path = films.make(folder / f"{number}.mp4", film)
        parts.append(ffmpeg(folder / f"{number}.h264", "-i", path, "-map", "0:v", "-c", "copy").read_bytes())
    (folder / "all.h264").write_bytes(b"".join(parts))
    return folder / "all.h264"


@pytest.mark.parametrize("name", ["film.mp4", "film.ts"])
def test_parameters_that_change_on_the_way_are_seen(name: str, tmp_path: Path) -> None:
    plain = x264(replace(PLAIN, seconds=2), bf="0")
    other = x264(replace(PLAIN, seconds=2), bf="0", preset="veryfast", profile="high")
    mixed = ffmpeg(tmp_path / name, "-r", "30", "-i", _joined(tmp_path, plain, other), "-c", "copy")
    assert verdict(mixed) == "its coding parameters change on the way"
    same = ffmpeg(tmp_path / name, "-r", "30", "-i", _joined(tmp_path, plain, plain), "-c", "copy")
    assert verdict(same) == ""


def test_a_key_flag_on_a_frame_that_is_no_idr_is_not_believed(tmp_path: Path) -> None:
    """Every 30th frame is said to be a key frame, but only the first is an IDR."""
    plain, lying = films.make(tmp_path / "plain.mp4", x264(replace(PLAIN, gop=999), bf="0")), tmp_path / "film.mp4"
    with av.open(str(plain)) as source, av.open(str(lying), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for number, packet in enumerate(p for p in source.demux(stream) if p.size):
            packet.stream, packet.is_keyframe = copy, number % 30 == 0
            out.mux(packet)
    facts = probe(str(lying)).video
    assert facts and facts.h264 and (len(facts.key_pts), len(facts.h264.idr)) == (4, 1)
    assert verdict(lying).startswith("frames before some of its key frames are needed")


def test_frames_that_an_edit_list_hides_are_seen(tmp_path: Path) -> None:
    cut = ffmpeg(tmp_path / "cut.mp4", "-ss", "1.5", "-i", films.make(tmp_path / "film.mp4", PLAIN), "-c", "copy")
    assert verdict(cut) == "some of its frames are hidden, damaged or carry no time of their own"


def test_avi_keeps_no_times(tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.avi", replace(x264(bf="0"), sounds=(Sound(4, codec="pcm_s16le"),)))
    assert verdict(path) == "some of its frames are hidden, damaged or carry no time of their own"


def _sps(**changes: object) -> Callable[[SourceFacts], SourceFacts]:
    def changed(facts: SourceFacts) -> SourceFacts:
        assert facts.video and facts.video.h264 and facts.video.h264.sps
        sps = replace(facts.video.h264.sps, **changes)  # type: ignore[arg-type]
        return replace(facts, video=replace(facts.video, h264=replace(facts.video.h264, sps=sps)))

    return changed


def _h264(**changes: object) -> Callable[[SourceFacts], SourceFacts]:
    def changed(facts: SourceFacts) -> SourceFacts:
        assert facts.video and facts.video.h264
        return replace(facts, video=replace(facts.video, h264=replace(facts.video.h264, **changes)))  # type: ignore[arg-type]

    return changed


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_sps(profile=88), "H.264 profile 88 level 2.1 is more than every player decodes"),
        (_sps(level=60), "H.264 profile 77 level 6 is more than every player decodes"),
        (_sps(aspect=(12, 11)), "its pixels are not square"),
        (_sps(progressive=False), "it is interlaced"),
        (_sps(width=496), "its frames and its header disagree about its size"),
        (_h264(sets=2), "its coding parameters change on the way"),
        (_h264(sps=None), "its coding parameters can't be read"),
        (_h264(idr=(), sizes=()), "it does not start with an IDR frame"),
    ],
)
def test_what_no_encoder_at_hand_makes_is_refused_too(
    plain: SourceFacts, change: Callable[[SourceFacts], SourceFacts], why: str
) -> None:
    assert planned(plain).notes == (passthrough.TAKEN,)
    assert planned(change(plain)).notes == (passthrough.REFUSED.format(why),)


def test_without_the_option_nothing_is_passed_through_and_nothing_is_said(plain: SourceFacts) -> None:
    plan = planning.make(plain, "0" * 64, Options(passthrough=False))
    assert plan.video and not any(rung.passthrough for rung in plan.video.rungs) and plan.notes == ()


def test_the_rung_is_named_by_its_peak_and_nothing_near_its_size_is_encoded(plain: SourceFacts) -> None:
    plan = planned(plain)
    assert plan.video and plain.video and plain.video.h264
    top, *rest = plan.video.rungs
    mean = 8 * sum(plain.video.h264.sizes) / 4000
    assert mean <= top.maxrate_kbps < mean * 1.15 and top.name == f"v270-{top.maxrate_kbps}k"
    assert (top.width, top.height, top.step) == (480, 270, 1)
    assert [rung.height for rung in rest] == [234] and (plan.video.width, plan.video.height) == (416, 234)
    assert all(rung.maxrate_kbps < top.maxrate_kbps for rung in rest), "a smaller picture at a higher rate is of no use"


def test_a_given_ladder_is_kept_below_the_picture(plain: SourceFacts) -> None:
    plan = planned(plain, ladder=(Step(180, 90, 30.0), Step(270, 300, 20.0), Step(144, 60, 31.0, "medium")))
    assert plan.video
    assert [(rung.name, rung.preset) for rung in plan.video.rungs[1:]] == [
        ("v180-90k", ""),
        ("v144-60k", "medium"),
    ]


def test_half_rate_rungs_need_key_frames_on_even_frames(tmp_path: Path) -> None:
    for gop, steps in ((100, [1, 2]), (75, [1, 1])):
        film = replace(PLAIN, rate=F(50), gop=gop)
        plan = planned(probe(str(films.make(tmp_path / "film.mp4", film))))
        assert plan.video and [rung.step for rung in plan.video.rungs] == steps


GAPS = st.lists(st.integers(1, 61), min_size=1, max_size=200)


@given(GAPS, st.integers(1, 61), st.integers(0, 30))
def test_any_idr_frames_near_enough_give_a_sound_grid(gaps: list[int], last: int, held: int) -> None:
    idr = [sum(gaps[:n]) for n in range(len(gaps) + 1)]
    count = idr[-1] + last + held
    whole = timeline.Grid(30000, 1000, (), count, count * 1000, (0,), (0,))
    made = timeline.cut_at(whole, idr, count - held)
    assert made and set(made.segments) <= set(made.keys) <= set(idr) and made.keys[0] == made.segments[0] == 0
    keys, cuts = [*made.keys, count - held], [*made.segments, count]
    assert all(b - a <= 61 for a, b in zip(keys, keys[1:], strict=False))
    assert all(0 < b - a < timeline.LONGEST_SEGMENT_S * 30 for a, b in zip(cuts, cuts[1:], strict=False))
    assert all(b - a > 4 * 30 for a, b in zip(cuts[:-2], cuts[1:-2], strict=False)), "only the last two may be short"
    assert timeline.cut_at(whole, [*idr[:-1], idr[-1] + 62], idr[-1] + 63) is None
