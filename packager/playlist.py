"""HLS playlists from segment indexes: text in, text out, every number measured from what was written.

The `m3u8` package does the spelling; version, order and the figures are ours. URIs are relative to the playlist they stand in, so a signed path
prefix carries over to every request. Apple's specification is cited as A, RFC 8216 as R.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, pairwise
from typing import Any, Final, Literal

import m3u8
from m3u8.model import Media, Start

from packager.bandwidth import TARGET, average, peak
from packager.index import SegmentEntry

TYPE: Final = "application/vnd.apple.mpegurl"  # R4
VERSION: Final = 6  # EXT-X-MAP outside I-frame lists (R7)
FIRST_VARIANT: Final = 2_000_000  # bit/s: what a player starts with before it has measured anything (A1.32)
SUBTITLES: Final = "subs"
FINAL: Final = "vod"
UNDETERMINED: Final = "und"  # BCP 47 for a language nobody named

_MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class MediaRendition:
    """One track as published: a folder with an init segment (text has none) and segments.

    `group` names the audio group, `channels` counts its channels, `name` is what a viewer sees in a menu. `codecs` is RFC 6381, "" for text. `ceiling` in bit/s
    stands for the bandwidth while there is not enough to measure; `stage` is the media playlist's name.
    """

    folder: str
    kind: Literal["video", "audio", "text"]
    init: str
    timescale: int
    segments: tuple[SegmentEntry, ...]
    codecs: str
    width: int = 0
    height: int = 0
    frame_rate: Fraction | None = None
    group: str = ""
    language: str | None = None
    name: str = ""
    default: bool = False
    channels: int = 2
    forced: bool = False
    ceiling: int | None = None
    stage: str = FINAL

    @property
    def uri(self) -> str:
        """Of its media playlist, from the entry playlist's place."""
        return f"{self.folder}/{self.stage}.m3u8"


def media_playlist(rendition: MediaRendition, target: int | None = None) -> str:
    """The VOD playlist `<folder>/vod.m3u8`. Pass `target_duration` of all renditions when a segment of any may last 6.5 s or more (A8.2)."""
    return _text(_with_segments(_playlist(rendition, target), rendition))


def event_playlist(rendition: MediaRendition, *, ended: bool) -> str:
    """What there is so far, as a playlist that only grows (R4.3.3.5). Players begin at its start, not at its end (R4.3.5.2)."""
    playlist = _playlist(rendition, None)
    playlist.playlist_type, playlist.is_endlist = "event", ended
    playlist.start = Start(time_offset=0)
    return _text(_with_segments(playlist, rendition))


def iframe_playlist(rendition: MediaRendition, target: int | None = None) -> str:
    """The trick-play playlist `<folder>/iframes.m3u8`: each key frame a byte range that lasts until the next one (R4.3.3.6, A6.10)."""
    playlist = _playlist(rendition, target)
    playlist.is_i_frames_only = True
    frames = [(segment.uri, frame) for segment in rendition.segments for frame in segment.iframes]
    times = _micro([frame.start for _, frame in frames], _end(rendition), rendition.timescale)
    for (uri, frame), duration in zip(frames, times, strict=True):
        playlist.add_segment(_segment(rendition, uri, duration, f"{frame.size}@{frame.offset}"))
    return _text(playlist)


def multivariant(
    videos: Sequence[MediaRendition], audios: Sequence[MediaRendition], texts: Sequence[MediaRendition] = ()
) -> str:
    """The entry playlist of the renditions' stage; I-frame playlists belong to the final one only. A source without video gets one variant per audio group (R4.3.4.2)."""
    playlist = m3u8.M3U8()
    playlist.version, playlist.is_variant, playlist.is_independent_segments = VERSION, True, True
    target = target_duration([*videos, *audios, *texts])
    for media in [*_audio_media(videos, audios), *_text_media(texts)]:
        playlist.add_media(media)
    for info, uri in _ordered(_variants(videos, _groups(audios), texts, target)):
        playlist.add_playlist(m3u8.Playlist(uri, info, playlist.media, None))
    for video in (video for video in videos if video.stage == FINAL):
        playlist.add_iframe_playlist(
            m3u8.IFramePlaylist(None, f"{video.folder}/iframes.m3u8", _iframe_info(video, target))
        )
    return _text(playlist)


def target_duration(renditions: Iterable[MediaRendition]) -> int:
    """Seconds, one number for all: 6, or more when a segment rounds to more (R4.3.3.1: every EXTINF, rounded, is at most this)."""
    longest = max((Fraction(s.duration, r.timescale) for r in renditions for s in r.segments), default=Fraction(0))
    return max(TARGET, int(longest + Fraction(1, 2)))


def peak_bandwidth(rendition: MediaRendition, target: int = TARGET) -> int:
    """Bit/s of the worst contiguous run of segments lasting 0.5 to 1.5 target durations (R4.1), rounded up."""
    if rendition.ceiling is not None:
        return rendition.ceiling
    return peak(_parts(rendition), target)


def average_bandwidth(rendition: MediaRendition) -> int:
    """Bit/s over the whole rendition, rounded up."""
    if rendition.ceiling is not None:
        return rendition.ceiling
    return average(_parts(rendition))


def _parts(rendition: MediaRendition) -> list[tuple[int, Fraction]]:
    """(bytes, seconds) of each segment, the seconds as the playlist says them: whoever checks the figures has only those."""
    times = _durations(rendition)
    return [(s.size, Fraction(micro, _MICRO)) for s, micro in zip(rendition.segments, times, strict=True)]


def _playlist(rendition: MediaRendition, target: int | None) -> Any:
    playlist = m3u8.M3U8()
    playlist.version, playlist.playlist_type, playlist.is_endlist = VERSION, "vod", True
    playlist.target_duration = target or target_duration([rendition])
    playlist.media_sequence = rendition.segments[0].number if rendition.segments else 0
    return playlist


def _with_segments(playlist: Any, rendition: MediaRendition) -> Any:
    for segment, duration in zip(rendition.segments, _durations(rendition), strict=True):
        playlist.add_segment(_segment(rendition, segment.uri, duration))
    return playlist


def _segment(rendition: MediaRendition, uri: str, micro: int, byterange: str | None = None) -> Any:
    init = {"uri": rendition.init} if rendition.init else None
    return m3u8.Segment(uri=uri, duration=micro / _MICRO, byterange=byterange, init_section=init)


def _text(playlist: Any) -> str:
    return str(playlist.dumps(infspec="microseconds"))


def _end(rendition: MediaRendition) -> int:
    return rendition.segments[-1].start + rendition.segments[-1].duration if rendition.segments else 0


def _durations(rendition: MediaRendition) -> list[int]:
    """Of its segments, in microseconds."""
    return _micro([segment.start for segment in rendition.segments], _end(rendition), rendition.timescale)


def _micro(starts: Sequence[int], end: int, timescale: int) -> list[int]:
    """Microseconds from each start to the next. Boundaries are rounded, not durations, so no sum of them ever drifts (A8.1)."""
    if not starts:
        return []
    bounds = [(2 * (time - starts[0]) * _MICRO + timescale) // (2 * timescale) for time in (*starts, end)]
    return [after - before for before, after in pairwise(bounds)]


def _groups(audios: Sequence[MediaRendition]) -> list[list[MediaRendition]]:
    """Renditions by audio group, the richest group first."""
    names = dict.fromkeys(audio.group for audio in audios)
    groups = [[audio for audio in audios if audio.group == name] for name in names]
    return sorted(groups, key=lambda group: -max(average_bandwidth(audio) for audio in group))


def _variants(
    videos: Sequence[MediaRendition],
    groups: Sequence[Sequence[MediaRendition]],
    texts: Sequence[MediaRendition],
    target: int,
) -> list[tuple[dict[str, Any], str]]:
    if not videos:
        return [(_info(None, group, texts, target), _first(group).uri) for group in groups]
    return [(_info(video, group, texts, target), video.uri) for video, group in _pairs(videos, groups)]


def _pairs(
    videos: Sequence[MediaRendition], groups: Sequence[Sequence[MediaRendition]]
) -> list[tuple[MediaRendition, Sequence[MediaRendition]]]:
    """Each rung with the rich audio group, the lowest with the poor one, for cellular (A9.21); a rung alone is offered with every group."""
    rungs = sorted(videos, key=average_bandwidth)
    if not groups:
        return [(video, ()) for video in rungs]
    if len(rungs) == 1:
        return [(rungs[0], group) for group in reversed(groups)]
    return [(rungs[0], groups[-1]), *((video, groups[0]) for video in rungs[1:])]


def _ordered(variants: list[tuple[dict[str, Any], str]]) -> list[tuple[dict[str, Any], str]]:
    """By bandwidth, but the one nearest 2000 kb/s comes first: players start with what stands first (A1.32)."""
    rising = sorted(variants, key=lambda variant: variant[0]["bandwidth"])
    first = min(rising, key=lambda variant: abs(variant[0]["average_bandwidth"] - FIRST_VARIANT), default=None)
    return [] if first is None else [first, *(variant for variant in rising if variant is not first)]


def _info(
    video: MediaRendition | None, audios: Sequence[MediaRendition], texts: Sequence[MediaRendition], target: int
) -> dict[str, Any]:
    """Attributes of EXT-X-STREAM-INF; the bandwidths are the largest sums over what can be played together (R4.3.4.2)."""
    choices = [[video] if video else [], audios, texts]
    codecs = dict.fromkeys(rendition.codecs for group in choices[:2] for rendition in group)
    info: dict[str, Any] = {
        "bandwidth": sum(max((peak_bandwidth(r, target) for r in group), default=0) for group in choices),
        "average_bandwidth": sum(max(map(average_bandwidth, group), default=0) for group in choices),
        "codecs": ",".join(codecs),
        "closed_captions": "NONE",
    }
    if video:
        info |= {"resolution": f"{video.width}x{video.height}", "video_range": "SDR"}
        info |= {"frame_rate": f"{float(video.frame_rate):.3f}"} if video.frame_rate else {}
    if audios and (video or len(audios) > 1):
        info["audio"] = audios[0].group
    if texts:
        info["subtitles"] = SUBTITLES
    return info


def _iframe_info(video: MediaRendition, target: int) -> dict[str, Any]:
    frames = [frame for segment in video.segments for frame in segment.iframes]
    times = _micro([frame.start for frame in frames], _end(video), video.timescale)
    parts = [(frame.size, Fraction(micro, _MICRO)) for frame, micro in zip(frames, times, strict=True)]
    return {
        "bandwidth": peak(parts, target),
        "average_bandwidth": average(parts),
        "codecs": video.codecs,
        "resolution": f"{video.width}x{video.height}",
        "video_range": "SDR",
    }


def _audio_media(videos: Sequence[MediaRendition], audios: Sequence[MediaRendition]) -> list[Media]:
    """A lone track without video is the variant itself and needs no group."""
    groups = [group for group in _groups(audios) if videos or len(group) > 1]
    return [media for group in groups for media in _group_media("AUDIO", group, group[0].group, bool(videos))]


def _text_media(texts: Sequence[MediaRendition]) -> list[Media]:
    return _group_media("SUBTITLES", texts, SUBTITLES, True)


def _group_media(kind: str, renditions: Sequence[MediaRendition], group: str, apart: bool) -> list[Media]:
    """EXT-X-MEDIA of one group (R4.3.4.1): one default at most; AUTOSELECT for the default and else the first of each language."""
    default = _first(renditions) if kind == "AUDIO" else next((r for r in renditions if r.default), None)
    chosen = {r.language: r for r in reversed(renditions)} | ({default.language: default} if default else {})
    return [
        Media(
            type=kind,
            group_id=group,
            name=name,
            language=rendition.language or UNDETERMINED,
            default="YES" if rendition is default else "NO",
            autoselect="YES" if chosen[rendition.language] is rendition else "NO",
            forced="YES" if rendition.forced else None,
            channels=str(rendition.channels) if kind == "AUDIO" else None,
            uri=rendition.uri if apart or rendition is not default else None,
        )
        for rendition, name in zip(renditions, _names(renditions), strict=True)
    ]


def _names(renditions: Sequence[MediaRendition]) -> list[str]:
    """Names unique in their group (R4.3.4.1) and free of what a quoted string cannot hold (R4.2). Order decides, so groups agree."""
    names: list[str] = []
    for number, rendition in enumerate(renditions, 1):
        wanted = rendition.name or rendition.language or f"Track {number}"
        plain = " ".join(
            "".join(letter if letter.isprintable() else " " for letter in wanted.replace('"', "'")).split()
        )
        names.append(plain if plain and plain not in names else _free(plain, number, names))
    return names


def _free(name: str, number: int, taken: Sequence[str]) -> str:
    """The name with the first number from `number` on that nobody has."""
    return next(free for n in count(number) if (free := f"{name} {n}".strip()) not in taken)


def _first(renditions: Sequence[MediaRendition]) -> MediaRendition:
    """The default of a group, or the first where none is marked."""
    return next((rendition for rendition in renditions if rendition.default), renditions[0])
