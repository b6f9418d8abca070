"""Our boxes, read by us, by PyAV, by Debian's ffmpeg and by a static build: frame by frame, without a warning."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import pytest
from av.logging import Capture

from packager.fmp4 import (
    AudioTrack,
    Sample,
    VideoTrack,
    avcc_from_annexb,
    codecs,
    fragment,
    init_segment,
    length_prefixed,
    read_init,
    read_segment,
    segment,
)
from packager.fmp4_read import nal_units
from packager.h264 import IDR, parameter_sets, read_sps
from packager.mp4_boxes import Mp4Error
from tests.packager import tiny

RATES = [Fraction(30), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25), Fraction(60)]


def video_file(track: VideoTrack, samples: tuple[Sample, ...]) -> bytes:
    parts, time = [], 0
    for number, gop in enumerate(tiny.gops(samples), 1):
        parts.append(fragment(number, time, gop))
        time += sum(sample.duration for sample in gop)
    return init_segment(track) + b"".join(segment(parts[at : at + 3])[0] for at in range(0, len(parts), 3))


def audio_file(track: AudioTrack, samples: tuple[Sample, ...]) -> bytes:
    parts = [fragment(at // 280 + 1, at * 1024, samples[at : at + 280]) for at in range(0, len(samples), 280)]
    return init_segment(track) + b"".join(segment([part])[0] for part in parts)


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_every_frame_has_its_exact_time_and_duration_in_pyav(tmp_path: Path, fps: Fraction) -> None:
    track, samples = tiny.video(fps=fps, frames=150)
    path = tmp_path / "v.mp4"
    path.write_bytes(video_file(track, samples))
    with Capture() as log, av.open(path) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert [packet.dts for packet in packets] == [(n - 2) * fps.denominator for n in range(150)]
        assert {packet.duration for packet in packets} == {fps.denominator}
        assert sorted(packet.pts for packet in packets if packet.pts is not None) == [
            n * fps.denominator for n in range(150)
        ]
        assert stream.start_time == 0 and stream.average_rate == fps
    with Capture() as decoding, av.open(path) as container:
        assert [frame.pts for frame in container.decode(video=0)] == [n * fps.denominator for n in range(150)]
    assert log + decoding == []


def test_a_variable_frame_rate_keeps_every_presentation_time(tmp_path: Path) -> None:
    times = tuple(number * 3000 + (number * 7919) % 900 for number in range(90))
    path = tmp_path / "v.mp4"
    path.write_bytes(video_file(*tiny.video(frames=90, times=times, timescale=90000)))
    with Capture() as log, av.open(path) as container:
        assert [frame.pts for frame in container.decode(video=0)] == list(times)
    assert log == []


def test_decoded_pictures_are_the_encoded_ones_in_order(tmp_path: Path) -> None:
    track, samples = tiny.video(frames=90)
    path = tmp_path / "v.mp4"
    path.write_bytes(video_file(track, samples))
    with av.open(path) as container:
        greys = [
            int(frame.to_ndarray()[:96, (number * 5 + 80) % 160].mean())
            for number, frame in enumerate(container.decode(video=0))
        ]
    assert all(abs(grey - (40 + number * 3 % 160)) < 12 for number, grey in enumerate(greys)), greys


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_audio_starts_at_zero_and_has_every_frame(tmp_path: Path, channels: int) -> None:
    track, samples = tiny.audio(seconds=7, channels=channels, language="sv")
    path = tmp_path / "a.mp4"
    path.write_bytes(audio_file(track, samples))
    with Capture() as log, av.open(path) as container:
        frames = list(container.decode(audio=0))
    assert [frame.pts for frame in frames] == [1024 * n for n in range(len(samples))]
    assert {(frame.layout.nb_channels, frame.sample_rate) for frame in frames} == {(channels, 48000)}
    assert log == []


@pytest.mark.parametrize("ffmpeg", ["ffmpeg", imageio_ffmpeg.get_ffmpeg_exe()], ids=["debian", "static"])
@pytest.mark.parametrize("kind", ["video", "audio"])
def test_command_line_ffmpeg_decodes_without_a_warning(tmp_path: Path, ffmpeg: str, kind: str) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(
        video_file(*tiny.video(fps=Fraction(30000, 1001), frames=150))
        if kind == "video"
        else audio_file(*tiny.audio(seconds=7))
    )
    command = [ffmpeg, "-v", "warning", "-xerror", "-err_detect", "explode", "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_ffprobe_sees_colour_square_pixels_and_durations(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(video_file(*tiny.video(fps=Fraction(25), frames=150)))
    command = ["ffprobe", "-v", "warning", "-show_streams", "-show_packets", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    facts = json.loads(done.stdout)
    stream = facts["streams"][0]
    assert done.stderr == ""
    assert [stream[name] for name in ("color_primaries", "color_transfer", "color_space")] == ["bt709"] * 3
    assert (stream["sample_aspect_ratio"], stream["codec_tag_string"], stream["r_frame_rate"]) == (
        "1:1",
        "avc1",
        "25/1",
    )
    assert {packet["duration_time"] for packet in facts["packets"]} == {"0.040000"}


def test_a_segment_plays_alone_after_its_init(tmp_path: Path) -> None:
    track, samples = tiny.video(frames=120)
    second = tiny.gops(samples)[1]
    path = tmp_path / "v.mp4"
    path.write_bytes(init_segment(track) + segment([fragment(2, 60, second)])[0])
    with Capture() as log, av.open(path) as container:
        assert [frame.pts for frame in container.decode(video=0)] == list(range(60, 120))
    assert log == []


def test_the_range_of_an_i_frame_decodes_to_one_picture(tmp_path: Path) -> None:
    track, samples = tiny.video(frames=120)
    first, second = tiny.gops(samples)
    data, ranges = segment([fragment(1, 0, first), fragment(2, 60, second)])
    offset, size = ranges[1]
    assert data[offset + 4 : offset + 8] == b"moof"
    path = tmp_path / "v.mp4"
    path.write_bytes(init_segment(track) + data[offset : offset + size])
    with Capture(), av.open(path) as container:
        frames = []
        for packet in container.demux(video=0):
            if packet.size == len(second[0].data):
                frames += packet.decode()
        frames += container.streams.video[0].decode(None)
    assert len(frames) == 1


def test_what_was_written_is_read_back() -> None:
    track, samples = tiny.video(frames=150)
    init = read_init(init_segment(track))
    first, second = tiny.gops(samples)[:2]
    data, ranges = segment([fragment(7, 0, first), fragment(8, 60, second)])
    facts = read_segment(data, init)
    assert facts.boxes == ("styp", "moof", "mdat", "moof", "mdat")
    for part, gop, (offset, size) in zip(facts.fragments, (first, second), ranges, strict=True):
        assert (part.offset, part.offsets[0] + part.sizes[0]) == (offset, offset + size)
        assert part.durations == tuple(s.duration for s in gop)
        assert part.composition == tuple(s.cts for s in gop)
        assert part.keys == (True, *[False] * 59)
        assert [data[at : at + n] for at, n in zip(part.offsets, part.sizes, strict=True)] == [s.data for s in gop]
        assert IDR in {data[start] & 31 for start, _ in nal_units(data, part.offsets[0], part.sizes[0])}
    assert [(part.sequence, part.tfdt) for part in facts.fragments] == [(7, 0), (8, 60)]
    assert init.tracks[0].media_time == track.delay == 2
    assert sorted(facts.fragments[1].presentations) == list(range(62, 122))


def test_signed_offsets_are_written_when_there_is_no_delay() -> None:
    track, samples = tiny.video(frames=60)
    signed = [replace(sample, cts=sample.cts - track.delay) for sample in samples]
    init = read_init(init_segment(replace(track, delay=0)))
    facts = read_segment(segment([fragment(1, 0, signed)])[0], init)
    assert init.tracks[0].media_time is None
    assert min(facts.fragments[0].composition) == -2
    assert sorted(facts.fragments[0].presentations) == list(range(60))


def test_key_frames_inside_a_fragment_keep_their_flag() -> None:
    track, samples = tiny.video(frames=120)
    facts = read_segment(segment([fragment(1, 0, samples)])[0], read_init(init_segment(track)))
    assert [at for at, key in enumerate(facts.fragments[0].keys) if key] == [0, 60]


def test_codecs_are_read_from_the_bytes_of_the_init() -> None:
    assert codecs(init_segment(tiny.video(frames=30)[0])) == "avc1.64000b"
    assert codecs(init_segment(tiny.audio(seconds=1)[0])) == "mp4a.40.2"


def test_the_sps_tells_profile_size_and_colour() -> None:
    track, _ = tiny.video(width=150, height=90, frames=30)
    sps = read_sps(parameter_sets(track.avcc)[0][0])
    assert (sps.profile, sps.width, sps.height, sps.progressive, sps.colour) == (100, 150, 90, True, (1, 1, 1))
    assert (sps.aspect, sps.luma_bits, sps.chroma_format) == ((1, 1), 8, 1)
    entry = read_init(init_segment(track)).tracks[0].entry
    assert (entry.width, entry.height, entry.colour, entry.pixel_aspect) == (150, 90, (1, 1, 1, 0), (1, 1))


def test_an_interlaced_sps_says_so() -> None:
    track, _ = tiny.video(frames=30, options=(("x264-params", "interlaced=1:threads=1"),))
    sps = read_sps(parameter_sets(track.avcc)[0][0])
    assert (sps.progressive, sps.height) == (False, 96)


def test_delimiters_and_parameter_sets_leave_the_samples_and_sei_stays() -> None:
    packet = b"\0\0\0\1\x09\xf0\0\0\0\1\x67\x64\0\0\1\x68\xee\0\0\1\x06\x05\x01\xaa\x80\0\0\0\1\x65\x88"
    assert length_prefixed(packet) == b"\0\0\0\5\x06\x05\x01\xaa\x80\0\0\0\2\x65\x88"


def test_extradata_without_parameter_sets_is_refused() -> None:
    with pytest.raises(ValueError, match="no SPS and PPS"):
        avcc_from_annexb(b"\0\0\0\1\x06\x05")


@pytest.mark.parametrize("language", ["und", "eng", "sv", "pt-BR"])
def test_the_language_stands_in_the_header(language: str) -> None:
    data = init_segment(tiny.audio(seconds=1, language=language)[0])
    exact = len(language) == 3
    assert read_init(data).tracks[0].language == (language if exact else "und")
    assert (b"elng" in data) is not exact


def test_cut_bytes_raise_and_never_hang() -> None:
    track, samples = tiny.video(frames=30)
    init, media = init_segment(track), segment([fragment(1, 0, samples)])[0]
    facts = read_init(init)
    for size in range(0, len(init) - 1, 7):
        with pytest.raises(Mp4Error):
            read_init(init[:size])
    for size in range(25, len(media) - 1, 53):
        with pytest.raises(Mp4Error):
            read_segment(media[:size], facts)


def test_a_fragment_refuses_to_be_empty_or_early() -> None:
    with pytest.raises(ValueError, match="samples"):
        fragment(1, 0, [])
    with pytest.raises(ValueError, match="decode time"):
        fragment(1, -1, [Sample(b"x", 1)])
