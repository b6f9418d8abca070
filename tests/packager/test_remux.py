"""A passed-through picture: the upload's own slices at their own times, beside encoded rungs that are cut at the same frames."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from packager import h264, pipeline, sandbox
from packager import plan as planning
from packager.errors import EncodeFailed
from packager.fmp4 import read_init, read_segment
from packager.gops import Header
from packager.index import ChunkIndex
from packager.passthrough import NOT_PASSABLE, TAKEN
from packager.pipeline import Options
from packager.plan import Plan
from packager.probe import probe
from packager.publish import RenditionFacts
from storage.base import ObjectStore
from storage.local import LocalStore
from tests.packager import films
from tests.packager.encoding import (
    PREFIX,
    Made,
    assert_in_sync,
    assert_obeys_the_rules,
    assert_right_frames,
    encode_file,
)
from tests.packager.films import Film, Sound

F = Fraction
PASSED = Options(passthrough=True, segments_per_chunk=1, audio_kbps=(64,))
PLAIN = Film(seconds=8, size=(480, 270), gop=60, sounds=(Sound(8),), options={"crf": "30"})
LONG = replace(PLAIN, seconds=14, gop=30, sounds=())
PYRAMID = {"crf": "30", "bf": "5", "x264-params": "keyint=60:b-pyramid=normal:b-adapt=0:scenecut=0:threads=1"}
SCENES = {"crf": "30", "preset": "veryfast", "x264-params": "keyint=60:min-keyint=5:scenecut=80:threads=1"}

FILMS: dict[str, tuple[str, Film, str]] = {
    "B-frames and an edit list": ("film.mp4", PLAIN, ""),
    "a pyramid": ("film.mp4", replace(PLAIN, options=PYRAMID), ""),
    "negative decode times, no edit list": ("film.mp4", replace(PLAIN, options=PYRAMID), "use_editlist=0"),
    "negative offsets": ("film.mp4", replace(PLAIN, options=PYRAMID), "movflags=+negative_cts_offsets"),
    "fragments": ("film.mp4", PLAIN, "movflags=+frag_keyframe+empty_moov"),
    "key frames at scene cuts": ("film.mov", replace(PLAIN, options=SCENES), ""),
    "50 frames a second": ("film.mp4", replace(PLAIN, rate=F(50), gop=100), ""),
    "24000/1001 frames a second": ("film.mp4", replace(PLAIN, rate=F(24000, 1001), gop=49, ticks=24000), ""),
    "Matroska": ("film.mkv", replace(PLAIN, options=PYRAMID), ""),
    "a transport stream": ("film.ts", replace(PLAIN, options=PYRAMID), ""),
    "a late picture": ("film.mp4", replace(PLAIN, start=F(1, 5)), ""),
    "sound that outlasts it": ("film.mp4", replace(PLAIN, sounds=(Sound(8.6),)), ""),
}


def remuxed(path: Path, source: Path, *arguments: str) -> Path:
    command = [get_ffmpeg_exe(), "-v", "error", "-i", source, "-map", "0", "-c", "copy", *arguments, "-y", path]
    subprocess.run(command, check=True, timeout=60)
    return path


@pytest.fixture(scope="module", params=FILMS.values(), ids=FILMS.keys())
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A film's package with its own picture on top."""
    name, film, how = request.param
    folder = tmp_path_factory.mktemp("passed")
    source = films.make(folder / name, film)
    if how:
        option, value = how.split("=")
        source = remuxed(folder / f"{option}-{name}", source, f"-{option}", value)
    return encode_file(source, folder, film, PASSED)


def top(made: Made) -> RenditionFacts:
    assert TAKEN in made.package.report["decisions"]
    return made.kind("video")[0]


def clock(made: Made) -> tuple[Fraction, list[int]]:
    """The film's zero on the clock of its stamps, which its container may have moved, and the slots its frames are shown at."""
    facts = probe(str(made.source)).video
    plan = Plan.from_json(made.store.read(f"{PREFIX}/plan.json")).video
    assert facts and plan
    lead = round((facts.start - plan.origin) * made.film.rate)
    moved = F(round((facts.start - made.film.stamps[0]) * 90000), 90000)
    return plan.origin - moved, [0, *range(lead + 1, lead + len(made.film.stamps))]


def slices(units: Iterator[bytes]) -> list[bytes]:
    """What a picture consists of: its coded slices and the messages with them."""
    return [unit for unit in units if unit[0] & h264.TYPE in (h264.SLICE, h264.IDR, h264.SEI)]


def test_the_slices_are_the_uploads_own_to_the_byte(made: Made) -> None:
    with av.open(str(made.source)) as container:
        stream = container.streams.video[0]
        header = Header.read(stream.codec_context.extradata)
        theirs = [slices(header.units(bytes(packet))) for packet in container.demux(stream) if packet.size]
    with av.open(io.BytesIO(films.joined(made.store, PREFIX, top(made).name))) as container:
        stream = container.streams.video[0]
        published = Header.read(stream.codec_context.extradata)
        ours = [slices(published.units(bytes(packet))) for packet in container.demux(stream) if packet.size]
    assert ours == theirs
    assert (published.sps, published.pps) == (header.sps, header.pps)


def test_every_frame_is_shown_at_its_time(made: Made) -> None:
    origin, slots = clock(made)
    assert_right_frames(made, origin, rate=made.film.rate)
    times = [frame.time for frame in made.shown(top(made))]
    assert times == pytest.approx([float(slot / made.film.rate) for slot in slots], abs=1e-6)


def test_ffprobe_sees_the_same_times(made: Made) -> None:
    """Debian's build, which is older than the one inside PyAV; packet times of all, exactly, in ticks."""
    path = made.source.with_suffix(".joined.mp4")
    path.write_bytes(films.joined(made.store, PREFIX, top(made).name))
    command = ["ffprobe", "-v", "error", "-show_entries", "packet=pts,dts:stream=time_base", "-of", "json", path]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    ticks = 1 / F(found["streams"][0]["time_base"]) / made.film.rate
    assert sorted(packet["pts"] for packet in found["packets"]) == [slot * ticks for slot in clock(made)[1]]
    decoded = [packet["dts"] for packet in found["packets"]]
    assert decoded == sorted(set(decoded)) and all(p["dts"] <= p["pts"] for p in found["packets"])


@pytest.mark.parametrize("program", ["ffmpeg", get_ffmpeg_exe()], ids=["Debian", "static"])
def test_it_decodes_without_a_warning(made: Made, program: str) -> None:
    command = [program, "-v", "warning", "-i", made.folder / top(made).name / "vod.m3u8", "-f", "null", "-"]
    assert subprocess.run(command, check=True, capture_output=True, timeout=60).stderr == b""


def test_the_encoded_rungs_are_cut_at_the_same_frames(made: Made) -> None:
    assert len(made.kind("video")) == 2
    bounds = [
        [
            (F(entry.start, index.timescale), F(entry.duration, index.timescale), entry.number)
            for entry in index.segments
        ]
        for index in (joined(made.store, rendition.name) for rendition in made.kind("video"))
    ]
    assert bounds[0] == bounds[1] and len(bounds[0]) == 2
    assert all(duration < F(13, 2) for _, duration, _ in bounds[0])


def joined(store: ObjectStore, folder: str) -> ChunkIndex:
    """All segments of a rendition as one index."""
    keys = sorted(i.key for i in store.list(f"{PREFIX}/{folder}/") if i.key.endswith(".json"))
    parts = [ChunkIndex.from_json(store.read(key)) for key in keys]
    return replace(parts[0], segments=tuple(entry for part in parts for entry in part.segments))


def test_sound_stays_with_the_picture(made: Made) -> None:
    priming = 1024 / 48000 if made.source.name.startswith("use_editlist") else 0.0  # nothing tells that it isn't sound
    for rendition in made.kind("audio"):
        assert_in_sync(made, made.film.sounds[0], clock(made)[0], rendition, 0.02 + priming)


def test_the_package_obeys_every_rule(made: Made) -> None:
    assert_obeys_the_rules(made)


def test_every_idr_is_marked_and_each_fragment_starts_with_one(made: Made) -> None:
    folder = made.folder / top(made).name
    init = read_init(next(folder.glob("init-*.mp4")).read_bytes())
    for path in folder.glob("*/*.m4s"):
        data = path.read_bytes()
        for part in read_segment(data, init).fragments:
            idr = [
                any(unit[0] & h264.TYPE == h264.IDR for unit in Header((), (), 4).units(data[at : at + size]))
                for at, size in zip(part.offsets, part.sizes, strict=True)
            ]
            assert list(part.keys) == idr and idr[0]


# ---- what the probe could not see -------------------------------------------------------------------------------------


def remux(path: Path, plan: Plan, chunk: int) -> list[sandbox.Message]:
    return list(sandbox.run("remux", {"path": str(path), "plan": plan.to_json().decode(), "chunk": chunk}))


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    path = films.make(tmp_path_factory.mktemp("plain") / "film.mp4", LONG)
    return path, planning.make(probe(str(path)), "0" * 64, PASSED)


def test_chunks_can_be_made_again_alone_and_out_of_order(planned: tuple[Path, Plan]) -> None:
    path, plan = planned
    assert plan.video and len(plan.video.chunks) == 3
    for chunk in reversed(plan.video.chunks):
        messages = remux(path, plan, chunk.number)
        assert [message.kind for message in messages] == ["init", "segment", "progress", "done"]
        assert messages[1].fields["number"] == chunk.segment
        assert messages[1].fields["start"] == plan.video.grid.time(chunk.first)
        again = remux(path, plan, chunk.number)
        assert [message.payload for message in again] == [message.payload for message in messages]


def test_chunks_made_in_one_go_are_the_same(planned: tuple[Path, Plan]) -> None:
    path, plan = planned
    assert plan.video
    alone = [m.payload for chunk in plan.video.chunks for m in remux(path, plan, chunk.number) if m.kind == "segment"]
    request = {"path": str(path), "plan": plan.to_json().decode(), "chunk": 0, "through": 2}
    assert [m.payload for m in sandbox.run("remux", request) if m.kind == "segment"] == alone


def _spoiled(path: Path, source: Path, number: int, old: bytes, new: bytes) -> Path:
    """The file with other bytes in its packet `number`, which is no key packet."""
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    packet = packets[number]
    assert not packet.is_keyframe and packet.pos is not None
    data = bytearray(source.read_bytes())
    found = bytes(packet)
    at = packet.pos + found.index(old)
    data[at : at + len(new)] = new
    path.write_bytes(data)
    return path


def test_a_damaged_packet_is_found_when_it_passes_by(planned: tuple[Path, Plan], tmp_path: Path) -> None:
    path, plan = planned
    spoiled = _spoiled(tmp_path / "film.mp4", path, 200, b"\0\0", b"\xff\xff")
    with pytest.raises(EncodeFailed) as caught:
        remux(spoiled, plan, 1)
    assert caught.value.code == NOT_PASSABLE and "damaged" in caught.value.detail


def test_a_source_that_was_spoiled_takes_nothing_from_a_film_that_plays(tmp_path: Path) -> None:
    source, store = films.make(tmp_path / "film.mp4", LONG), LocalStore(tmp_path / "store")
    made = pipeline.encode(source, store, "out", options=PASSED, source_sha256="0" * 64)
    before = {info.key for info in store.list("out/")}
    rung = next(rendition for rendition in made.renditions if rendition.kind == "video")
    store.delete(f"out/{rung.name}/0001.json")  # so that a repair passes by the packet
    spoiled = _spoiled(tmp_path / "spoiled.mp4", source, 200, b"\0\0", b"\xff\xff")
    with pytest.raises(EncodeFailed) as caught:
        pipeline.encode(spoiled, store, "out", options=PASSED, source_sha256="0" * 64)
    assert caught.value.code == NOT_PASSABLE
    assert before - {info.key for info in store.list("out/")} == {f"out/{rung.name}/0001.json"}


def test_a_missing_frame_is_found_when_it_passes_by(planned: tuple[Path, Plan], tmp_path: Path) -> None:
    """The file is not the one that was planned: its picture ends earlier."""
    _, plan = planned
    shorter = films.make(tmp_path / "film.mp4", replace(LONG, seconds=8))
    for chunk in (1, 2):
        with pytest.raises(EncodeFailed) as caught:
            remux(shorter, plan, chunk)
        assert caught.value.code == NOT_PASSABLE and "missing" in caught.value.detail


def test_other_parameters_are_found_when_they_pass_by(planned: tuple[Path, Plan], tmp_path: Path) -> None:
    """A slice that has become a picture parameter set by its type."""
    path, plan = planned
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][200]
        first = bytes(packet)[4:5]
    kind = bytes([first[0] & ~h264.TYPE | h264.PPS])
    spoiled = _spoiled(tmp_path / "film.mp4", path, 200, bytes(packet)[:5], bytes(packet)[:4] + kind)
    with pytest.raises(EncodeFailed) as caught:
        remux(spoiled, plan, 1)
    assert caught.value.code == NOT_PASSABLE and "parameters" in caught.value.detail
