"""For every rule a good package is broken in just that way, and the checker names the rule, its weight and its source."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from packager.check import RULES, check
from packager.fmp4 import Sample
from packager.playlist import MediaRendition
from tests.packager import tiny
from tests.packager.check.surgery import (
    FRAMES,
    MASTER,
    TEXT,
    V144,
    Break,
    both,
    box,
    boxes,
    drop,
    edit,
    encrypt,
    pad,
    patch,
    remove,
)
from tests.packager.check.test_delivery import DELIVERY_RULES

INIT = '#EXT-X-MAP:URI="init.mp4"\n'
FOLDERS = ("v96", "v144", "v192", "a-128-en", "a-128-sv", "a-48-en", "a-48-sv")
EXTINF = "#EXTINF:6.000000,\n"
NCLX = b"nclx\0\1\0\1\0\1"
INTERLACED = "interlaced=1:keyint=60:min-keyint=60:scenecut=0:threads=1"


def file(name: str, data: bytes) -> Break:
    return lambda root: (root / name).write_bytes(data) and None


def prefixed(name: str, before: bytes) -> Break:
    return lambda root: (root / name).write_bytes(before + (root / name).read_bytes()) and None


def rung(samples: Callable[[], tuple[Sample, ...]] | None = None, per_segment: int = 3, **fields: object) -> Break:
    """Write the 144-line rung again from other samples or with another track header; its playlists follow."""

    def harm(root: Path) -> None:
        track, plain = tiny.video(240, 144, Fraction(30), 540)
        shutil.rmtree(root / "v144")
        header = replace(track, **fields)  # type: ignore[arg-type]
        again(root, tiny.write_video(root, "v144", header, samples() if samples else plain, Fraction(30), per_segment))

    return harm


def captioned() -> tuple[Sample, ...]:
    sei = b"\x06\x04\x0c\xb5\x00\x31GA94\x03\x41\xff\xfc\x94\x20\x80"
    return changed(0, data=len(sei).to_bytes(4, "big") + sei + usual()[0].data)


def again(root: Path, made: MediaRendition) -> None:
    """Playlists of one rendition."""
    (root / made.folder / "vod.m3u8").write_text(tiny.media_playlist(made))
    if made.kind == "video":
        (root / made.folder / "iframes.m3u8").write_text(tiny.iframe_playlist(made))


def usual() -> tuple[Sample, ...]:
    return tiny.video(240, 144, Fraction(30), 540)[1]


def changed(at: int, **fields: object) -> tuple[Sample, ...]:
    samples = list(usual())
    samples[at] = replace(samples[at], **fields)  # type: ignore[arg-type]
    return tuple(samples)


def film(*clips: dict[str, Any]) -> Break:
    """Another package altogether, of clips as `tiny.video` makes them."""

    def harm(root: Path) -> None:
        for path in list(root.iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        videos = [
            tiny.write_video(root, f"v{number}", *tiny.video(**clip), clip.get("fps", Fraction(30)))
            for number, clip in enumerate(clips)
        ]
        seconds = float(Fraction(videos[0].segments[-1].start + videos[0].segments[-1].duration, videos[0].timescale))
        audio = tiny.write_audio(root, "a", *tiny.audio(seconds), "a", "English", "en", True)
        tiny.write_playlists(root, videos, [audio])

    return harm


def sound(**fields: object) -> Break:
    """The English audio of the better group, encoded in another way."""

    def harm(root: Path) -> None:
        shutil.rmtree(root / "a-128-en")
        made = tiny.audio(**{"seconds": 18, "language": "en", **fields})  # type: ignore[arg-type]
        again(root, tiny.write_audio(root, "a-128-en", *made, "a128", "English", "en", True))

    return harm


def only_mono(root: Path) -> None:
    for group, kbps in (("a128", 128), ("a48", 48)):
        for language in ("en", "sv"):
            folder = f"a-{kbps}-{language}"
            shutil.rmtree(root / folder)
            again(root, tiny.write_audio(root, folder, *tiny.audio(18, kbps, 1, language), group, "x", language, True))


def late_audio_cuts(root: Path) -> None:
    track, samples = tiny.audio(18, 128, 2, "en")
    writer = tiny.Writer(root / "a-128-en")
    for start, end in ((0, 261), (261, 542), (542, len(samples))):
        writer.add([samples[start:end]])
    made = MediaRendition("a-128-en", "audio", "init.mp4", track.timescale, tuple(writer.entries), "mp4a.40.2")
    again(root, made)


def lower_first(root: Path) -> None:
    """The poorest variant moves to the top of the list."""
    lines = (root / MASTER).read_text().splitlines()
    at = lines.index("v96/vod.m3u8") - 1
    pair, rest = lines[at : at + 2], lines[:at] + lines[at + 2 :]
    first = next(n for n, line in enumerate(rest) if line.startswith("#EXT-X-STREAM-INF"))
    (root / MASTER).write_text("\n".join([*rest[:first], *pair, *rest[first:]]) + "\n")


def transfer(folders: tuple[str, ...], points: bytes) -> Break:
    return both(*(patch(f"{folder}/init.mp4", NCLX, b"nclx" + points) for folder in folders))


def second_track(payload_of: str) -> Break:
    """The moov of v144 (or of the English audio) gets the track of an audio init as its second."""

    def harm(root: Path) -> None:
        donor = root / "a-48-en" / "init.mp4"
        trak = next(part for part in _children(donor.read_bytes(), "moov") if part[4:8] == b"trak")
        at = trak.index(b"tkhd") + 4 + 12
        trak = trak[:at] + (2).to_bytes(4, "big") + trak[at + 4 :]
        boxes(payload_of, "moov", lambda moov: moov + trak)(root)

    return harm


def _children(data: bytes, name: str) -> list[bytes]:
    from packager.mp4_boxes import root as read

    return [data[part.start : part.end] for part in read(data).need(name).children()]


def protected(crypt: int, skip: int) -> Break:
    """A sample entry as common encryption writes it."""
    tenc = box("tenc", bytes([1, 0, 0, 0, 0, crypt << 4 | skip, 1, 0]) + bytes(16) + bytes([16]) + bytes(16))
    schm = box("schm", bytes(4) + b"cbcs" + bytes([0, 1, 0, 0]))
    sinf = box("sinf", box("frma", b"avc1") + schm + box("schi", tenc))

    def harm(root: Path) -> None:
        boxes("v144/init.mp4", "moov/trak/mdia/minf/stbl/stsd/avc1", lambda entry: entry + sinf)(root)
        patch("v144/init.mp4", b"avc1\0\0\0\0\0\0\0\1", b"encv\0\0\0\0\0\0\0\1")(root)

    return harm


def grown(file: str) -> Break:
    """A playlist as it is while a film is made."""
    return both(edit(file, "PLAYLIST-TYPE:VOD", "PLAYLIST-TYPE:EVENT"), drop(file, "#EXT-X-ENDLIST"))


def level_6_2(root: Path) -> None:
    data = (root / "v144/init.mp4").read_bytes()
    at = data.index(b"avcC") + 7
    level = data[at : at + 1]
    sps = data.index(b"\x67\x64\x00" + level)
    data = data[:at] + b"\x3e" + data[at + 1 : sps + 3] + b"\x3e" + data[sps + 4 :]
    (root / "v144/init.mp4").write_bytes(data)


BREAKS: dict[str, Break] = {
    "extm3u": edit(V144, "#EXTM3U\n", "\n#EXTM3U\n"),
    "utf8": prefixed(V144, b"\xef\xbb\xbf"),
    "version": edit(V144, "VERSION:6", "VERSION:5"),
    "one-version": edit(V144, "#EXT-X-VERSION:6\n", "#EXT-X-VERSION:6\n#EXT-X-VERSION:6\n"),
    "once": edit(V144, "#EXT-X-TARGETDURATION:6\n", "#EXT-X-TARGETDURATION:6\n#EXT-X-TARGETDURATION:6\n"),
    "mixed": edit(V144, INIT, f'{INIT}#EXT-X-SESSION-DATA:DATA-ID="a",VALUE="b"\n'),
    "attributes": edit(MASTER, 'GROUP-ID="a48"', "GROUP-ID=a 48"),
    "target": edit(V144, "TARGETDURATION:6", "TARGETDURATION:6.0"),
    "extinf": edit(V144, EXTINF, "", 1),
    "too-long": edit(V144, "EXTINF:6.000000", "EXTINF:6.500000"),
    "event": lambda root: [grown(f"{folder}/vod.m3u8")(root) for folder in FOLDERS if folder != "v144"] and None,
    "vod": drop(V144, "#EXT-X-PLAYLIST-TYPE"),
    "endlist": drop(V144, "#EXT-X-ENDLIST"),
    "endlist-last": both(drop(V144, "#EXT-X-ENDLIST"), edit(V144, INIT, f"#EXT-X-ENDLIST\n{INIT}")),
    "map": drop(V144, "#EXT-X-MAP"),
    "segment-format": file("v144/000001.m4s", b"this is no media at all"),
    "missing": remove("v144/000001.m4s"),
    "range": edit(FRAMES, "#EXT-X-BYTERANGE:", "#EXT-X-BYTERANGE:9000", 1),
    "key-uri": edit(V144, INIT, f"{INIT}#EXT-X-KEY:METHOD=AES-128\n"),
    "discontinuity": edit(V144, "\n000001", '\n#EXT-X-MAP:URI="../v192/init.mp4"\n000001'),
    "same-discontinuities": edit(V144, "000000.m4s\n", "000000.m4s\n#EXT-X-DISCONTINUITY\n"),
    "target-6": lambda root: (
        [edit(str(p.relative_to(root)), "DURATION:6", "DURATION:7")(root) for p in root.glob("*/*.m3u8")] and None
    ),
    "nominal-6": edit(V144, "EXTINF:6.000000", "EXTINF:4.000000"),
    "same-target": edit(V144, "TARGETDURATION:6", "TARGETDURATION:7"),
    "extinf-sum": edit(V144, "EXTINF:6.000000", "EXTINF:5.980000"),
    "tfdt": lambda root: _shift_tfdt(root / "v144/000001.m4s", 1),
    "idr": rung(lambda: changed(180, data=usual()[181].data)),
    "sync-flag": lambda root: _mark_key(root / "v144/000001.m4s"),
    "idr-distance": rung(lambda: changed(240, key=False)),
    "sample-entry": patch("v144/init.mp4", b"avc1\0\0\0\0\0\0\0\1", b"avc3\0\0\0\0\0\0\0\1"),
    "boundaries": rung(per_segment=2),
    "same-range": sound(seconds=17.5),
    "priming": sound(priming=True),
    "negative-time": rung(delay=5),
    "h264-level": level_6_2,
    "h264-high": film(dict(frames=60, options=(("profile", "main"),))),
    "fmp4-only": both(drop(V144, "#EXT-X-MAP"), edit(MASTER, "avc1.64000c", "hvc1.1.6.L30.B0")),
    "sixty": film(dict(fps=Fraction(120), frames=240)),
    "natural-rate": film(dict(fps=Fraction(17), frames=102)),
    "interlaced": film(dict(height=160, frames=60, options=(("x264-params", INTERLACED),))),
    "sdr": transfer(("v96", "v144", "v192"), b"\0\x09\0\x10\0\x09"),
    "one-colour": transfer(("v96",), b"\0\x05\0\x06\0\x05"),
    "one-aspect": film(dict(width=320, height=192, frames=60), dict(width=240, height=192, frames=60)),
    "stereo": only_mono,
    "stereo-rate": sound(kbps=320),
    "one-audio": second_track("a-128-en/init.mp4"),
    "variant-attributes": edit(MASTER, "FRAME-RATE=30,", "", 1),
    "codecs": edit(MASTER, "avc1.64000c,mp4a.40.2", "avc1.64000c,mp4a.40.5"),
    "resolution": edit(MASTER, "RESOLUTION=240x144", "RESOLUTION=242x144"),
    "frame-rate": edit(MASTER, "FRAME-RATE=15", "FRAME-RATE=25"),
    "bandwidth": lambda root: _scale(root, "BANDWIDTH", 0.95),
    "bandwidth-10": lambda root: _scale(root, "BANDWIDTH", 1.2),
    "average-10": lambda root: _scale(root, "AVERAGE-BANDWIDTH", 0.8),
    "peak-200": pad("v144", 600_000, only=(1,)),
    "video-range": edit(MASTER, "VIDEO-RANGE=SDR", "VIDEO-RANGE=PQ"),
    "independent": drop(MASTER, "#EXT-X-INDEPENDENT-SEGMENTS"),
    "independent-media": drop(MASTER, "#EXT-X-INDEPENDENT-SEGMENTS"),
    "several": film(dict(width=512, height=288, frames=60)),
    "two-at-top": film(dict(width=1280, height=720, frames=60), dict(width=320, height=180, frames=60)),
    "first-variant": lower_first,
    "cellular": both(*(pad(folder, 200_000) for folder in ("v96", "v144", "v192"))),
    "cellular-audio": edit(MASTER, 'AUDIO="a48"', 'AUDIO="a128"'),
    "ladder": pad("v192", 400_000),
    "media-attributes": edit(MASTER, 'NAME="Svenska",', "", 1),
    "group": edit(MASTER, ',AUDIO="a48"', ',AUDIO="a49"'),
    "unique-name": edit(MASTER, 'NAME="Svenska"', 'NAME="English"'),
    "one-default": edit(MASTER, "DEFAULT=NO", "DEFAULT=YES", 1),
    "language": edit(MASTER, 'LANGUAGE="sv",', "", 1),
    "same-renditions": drop(MASTER, '#EXT-X-MEDIA:URI="a-48-sv'),
    "channels": edit(MASTER, ',CHANNELS="2"', "", 1),
    "separate-audio": second_track("v144/init.mp4"),
    "separate-alternatives": second_track("v144/init.mp4"),
    "iframes": drop(MASTER, "#EXT-X-I-FRAME-STREAM-INF"),
    "iframe-attributes": edit(MASTER, 'RESOLUTION=240x144,CODECS="avc1.64000c",VIDEO', "RESOLUTION=240x144,VIDEO"),
    "iframes-only": drop(FRAMES, "#EXT-X-I-FRAMES-ONLY"),
    "iframe-range": lambda root: _shorten_range(root / FRAMES),
    "timestamp-map": drop("t0/000001.vtt", "X-TIMESTAMP-MAP"),
    "webvtt": edit("t0/000001.vtt", "00:00:06.000 -->", "00:00:06,000 -->"),
    "text-range": both(drop(TEXT, "000002.vtt"), edit(TEXT, f"{EXTINF}#EXT-X-ENDLIST", "#EXT-X-ENDLIST")),
    "cue-place": edit("t0/000001.vtt", "MPEGTS:0", "MPEGTS:1800000"),
    "wvtt": edit(MASTER, 'mp4a.40.2"', 'mp4a.40.2,wvtt"'),
    "captions": rung(captioned),
    "captions-none": edit(MASTER, "CLOSED-CAPTIONS=NONE,", "", 1),
    "captions-said": edit(MASTER, "CLOSED-CAPTIONS=NONE,", ""),
    "encryption": protected(1, 9),
    "pattern": protected(5, 5),
    "map-key": lambda root: encrypt(root, "v144", above_map=True),
    "iv": lambda root: encrypt(root, "v144", iv=b"\7" * 16),
    "decrypt": both(
        lambda root: encrypt(root, "v144"), edit(V144, "#EXT-X-MAP", "#EXT-X-MEDIA-SEQUENCE:4\n#EXT-X-MAP")
    ),
}


def _shift_tfdt(path: Path, ticks: int) -> None:
    data = path.read_bytes()
    at = data.index(b"tfdt") + 8
    time = int.from_bytes(data[at : at + 8], "big") + ticks
    path.write_bytes(data[:at] + time.to_bytes(8, "big") + data[at + 8 :])


def _mark_key(path: Path) -> None:
    """`tfhd`'s default flags say that every sample is a key frame."""
    data = path.read_bytes()
    at = data.index(b"\x01\x01\x00\x00", data.index(b"tfhd"))
    path.write_bytes(data[:at] + b"\x02\x00\x00\x00" + data[at + 4 :])


def _shorten_range(path: Path) -> None:
    lines = path.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("#EXT-X-BYTERANGE"))
    size, offset = lines[at].partition(":")[2].split("@")
    lines[at] = f"#EXT-X-BYTERANGE:{int(size) - 1}@{offset}"
    path.write_text("\n".join(lines) + "\n")


def _scale(root: Path, name: str, factor: float) -> None:
    import re

    text = (root / MASTER).read_text()
    pattern = rf"(?<=[:,]){name}=(\d+)"
    changed_text = re.sub(pattern, lambda match: f"{name}={int(int(match[1]) * factor)}", text)
    assert changed_text != text
    (root / MASTER).write_text(changed_text)


def test_the_good_package_breaks_nothing(good: Path) -> None:
    report = check(str(good))
    assert report.findings == []
    assert {facts["kind"] for facts in report.facts["playlists"]} == {"video", "audio", "text"}


@pytest.mark.parametrize("rule", BREAKS)
def test_a_broken_rule_is_named_with_its_weight_and_source(good: Path, rule: str) -> None:
    BREAKS[rule](good)
    findings = check(str(good)).findings
    known = RULES[rule]
    named = [(finding.rule, finding.severity, finding.source) for finding in findings]
    assert (known.number, known.severity, known.source) in named, findings
    assert all(finding.where and finding.message for finding in findings)


def test_every_rule_the_checker_knows_is_broken_somewhere() -> None:
    assert set(RULES) == set(BREAKS) | DELIVERY_RULES


def test_every_numbered_rule_is_known() -> None:
    assert {rule.number for rule in RULES.values()} == set(range(1, 45))
