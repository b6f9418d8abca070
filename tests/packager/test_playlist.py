"""Playlists from indexes: figures against brute force, text against a second parser, the whole against real players."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import imageio_ffmpeg
import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.index import IFrame, SegmentEntry
from packager.playlist import (
    MediaRendition,
    average,
    average_bandwidth,
    iframe_playlist,
    media_playlist,
    multivariant,
    peak,
    peak_bandwidth,
    target_duration,
)
from tests.packager import tiny


def rendition(folder: str, kbps: int, **fields: object) -> MediaRendition:
    """Four segments of 6 s at a constant rate."""
    segments = tuple(
        SegmentEntry(f"{n}.m4s", n, n * 6000, 6000, kbps * 750, "", (IFrame(24, 900, n * 6000),)) for n in range(4)
    )
    base = MediaRendition(folder, "video", "init.mp4", 1000, segments, "avc1.64001f", 640, 360, Fraction(30))
    return replace(base, **fields)


def sound(folder: str, kbps: int, group: str, **fields: object) -> MediaRendition:
    return rendition(
        folder, kbps, kind="audio", codecs="mp4a.40.2", width=0, height=0, frame_rate=None, group=group, **fields
    )


def lines(text: str, tag: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(tag)]


def test_a_media_playlist_reads_as_written() -> None:
    text = media_playlist(rendition("v", 500))
    assert text.startswith(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:6\n#EXT-X-PLAYLIST-TYPE:VOD\n"
        '#EXT-X-MAP:URI="init.mp4"\n#EXTINF:6.000000,\n0.m4s\n'
    )
    assert text.endswith("3.m4s\n#EXT-X-ENDLIST\n")


@given(
    st.lists(st.integers(1, 700_000), min_size=1, max_size=60),
    st.sampled_from([30000, 24000, 48000, 90000, 1001]),
    st.integers(0, 10**7),
)
def test_no_sum_of_durations_drifts_by_more_than_a_microsecond(durations: list[int], scale: int, first: int) -> None:
    starts = list(accumulate(durations, initial=first))
    segments = tuple(
        SegmentEntry(f"{n}.m4s", n, start, ticks, 1, "")
        for n, (start, ticks) in enumerate(zip(starts, durations, strict=False))
    )
    text = media_playlist(MediaRendition("a", "audio", "i.mp4", scale, segments, "mp4a.40.2"))
    written = [Fraction(line[8:-1]) for line in lines(text, "#EXTINF:")]
    for known, real in zip(accumulate(written), accumulate(durations), strict=True):
        assert abs(known - Fraction(real, scale)) <= Fraction(1, 1_000_000)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.fractions(Fraction(1, 50), 7)), min_size=1, max_size=14))
def test_the_peak_is_the_worst_run_of_half_to_one_and_a_half_targets(parts: list[tuple[int, Fraction]]) -> None:
    runs = [parts[first:last] for first in range(len(parts)) for last in range(first + 1, len(parts) + 1)]
    rates = [
        8 * sum(size for size, _ in run) / seconds
        for run in runs
        if 3 <= (seconds := sum((part for _, part in run), Fraction(0))) <= 9
    ]
    assert peak(parts, 6) == (-int(-max(rates) // 1) if rates and max(rates) else average(parts))


def test_bandwidth_is_the_sum_of_the_worst_tracks_that_can_play_together() -> None:
    videos = [rendition("v1", 300), rendition("v2", 2000)]
    audios = [
        sound("a1", 120, "hi", name="one"),
        sound("a2", 130, "hi", name="two", language="de"),
        sound("a3", 48, "lo", name="one"),
        sound("a4", 40, "lo", name="two", language="de"),
    ]
    parsed = m3u8.loads(multivariant(videos, audios))
    found = {playlist.uri: playlist.stream_info.bandwidth for playlist in parsed.playlists}
    assert found == {"v2/vod.m3u8": 2_130_000, "v1/vod.m3u8": 348_000}
    assert parsed.playlists[0].uri == "v2/vod.m3u8", "the one nearest 2000 kb/s stands first"
    assert [playlist.stream_info.audio for playlist in parsed.playlists] == ["hi", "lo"]
    assert parsed.is_independent_segments and str(parsed.version) == "6"


def test_the_other_variants_rise() -> None:
    parsed = m3u8.loads(multivariant([rendition(f"v{kbps}", kbps) for kbps in (6000, 150, 2100, 700)], []))
    assert [playlist.uri for playlist in parsed.playlists] == [f"v{kbps}/vod.m3u8" for kbps in (2100, 150, 700, 6000)]


def test_every_group_offers_the_same_names_with_one_default() -> None:
    tracks = [
        sound(f"{group}{n}", rate, group, name=name, language=code)
        for group, rate in (("a128", 128), ("a48", 48))
        for n, (name, code) in enumerate((("English", "en"), ("English", "en"), ('Fre"nch\n', "fr")))
    ]
    media = m3u8.loads(multivariant([rendition("v", 500)], tracks)).media
    by_group = [[m for m in media if m.group_id == group] for group in ("a128", "a48")]
    names = [[m.name for m in group] for group in by_group]
    assert names[0] == names[1] == ["English", "English 2", "Fre'nch"]
    assert [[m.default for m in group] for group in by_group] == [["YES", "NO", "NO"]] * 2
    assert [m.autoselect for m in by_group[0]] == ["YES", "NO", "YES"]


@pytest.mark.parametrize("titles", [("A", "A 3", "A"), ("A 2", "A", "A"), ("A", "A", "A 3", "A"), ("", "", "")])
def test_names_differ_even_where_titles_end_in_numbers(titles: tuple[str, ...]) -> None:
    tracks = [sound(f"a{n}", 128, "g", name=title, language=None) for n, title in enumerate(titles)]
    names = [media.name for media in m3u8.loads(multivariant([], tracks)).media]
    assert len(set(names)) == len(titles) and names[0] == (titles[0] or "Track 1")


def test_a_rung_alone_is_offered_with_every_audio_group_poorest_first_by_bandwidth() -> None:
    parsed = m3u8.loads(multivariant([rendition("v", 100)], [sound("h", 128, "a128"), sound("l", 48, "a48")]))
    assert sorted(playlist.stream_info.audio for playlist in parsed.playlists) == ["a128", "a48"]


def test_a_silent_film_names_no_audio() -> None:
    text = multivariant([rendition("v", 500)], [])
    assert "AUDIO" not in text and "mp4a" not in text and 'CODECS="avc1.64001f"' in text


def test_a_source_without_video_becomes_audio_variants() -> None:
    text = multivariant([], [sound("h", 128, "a128"), sound("l", 48, "a48")])
    parsed = m3u8.loads(text)
    assert {playlist.uri for playlist in parsed.playlists} == {"h/vod.m3u8", "l/vod.m3u8"}
    assert "EXT-X-MEDIA" not in text and "RESOLUTION" not in text and "I-FRAME" not in text


def test_several_tracks_without_video_keep_their_languages() -> None:
    tracks = [sound("e", 128, "a", name="English", language="en", default=True), sound("d", 128, "a", name="Deutsch")]
    media = m3u8.loads(multivariant([], tracks)).media
    assert [(m.name, m.language, m.uri) for m in media] == [("English", "en", None), ("Deutsch", "und", "d/vod.m3u8")]


def test_subtitles_hang_on_every_variant_and_stay_out_of_codecs() -> None:
    text_track = rendition("t", 1, kind="text", init="", codecs="", language="sv", name="Svenska")
    text = multivariant([rendition("v", 500), rendition("w", 900)], [], [text_track])
    assert all('SUBTITLES="subs"' in line for line in lines(text, "#EXT-X-STREAM-INF"))
    assert "wvtt" not in text
    assert lines(text, "#EXT-X-MEDIA") == [
        '#EXT-X-MEDIA:URI="t/vod.m3u8",TYPE=SUBTITLES,GROUP-ID="subs",LANGUAGE="sv",NAME="Svenska",DEFAULT=NO,AUTOSELECT=YES'
    ]
    assert "MAP" not in media_playlist(text_track)


def test_an_i_frame_playlist_lasts_as_long_as_the_film() -> None:
    text = iframe_playlist(rendition("v", 500))
    assert "#EXT-X-I-FRAMES-ONLY" in text and lines(text, "#EXT-X-BYTERANGE") == ["#EXT-X-BYTERANGE:900@24"] * 4
    assert sum(Fraction(line[8:-1]) for line in lines(text, "#EXTINF:")) == 24


@pytest.mark.parametrize(("ticks", "target"), [(6000, 6), (6499, 6), (6500, 7), (400, 6)])
def test_the_target_is_six_seconds_or_what_the_longest_segment_rounds_to(ticks: int, target: int) -> None:
    one = replace(rendition("v", 100), segments=(SegmentEntry("0.m4s", 0, 0, ticks, 9, ""),))
    assert target_duration([rendition("w", 100), one]) == target
    assert f"#EXT-X-TARGETDURATION:{target}\n" in media_playlist(one)


def test_figures_come_from_sizes() -> None:
    film = rendition("v", 400)
    assert (peak_bandwidth(film), average_bandwidth(film)) == (400_000, 400_000)


@pytest.mark.parametrize("ffmpeg", ["ffmpeg", imageio_ffmpeg.get_ffmpeg_exe()], ids=["debian", "static"])
def test_ffmpeg_plays_the_whole_package_without_a_warning(tmp_path: Path, ffmpeg: str) -> None:
    master = tiny.package(tmp_path, fps=Fraction(30000, 1001), with_text=False)
    command = [ffmpeg, "-v", "warning", "-xerror", "-i", str(master), "-map", "0:v", "-map", "0:a", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
