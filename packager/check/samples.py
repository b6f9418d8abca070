"""Inside init segments and samples: NAL units, parameter sets, captions, protection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from packager.check.report import Findings
from packager.fmp4_read import FragmentFacts, InitFacts, TrackFacts, nal_units
from packager.h264 import IDR, PPS, SEI, SPS
from packager.mp4_entries import SampleEntry

_H264: Final = ("avc1", "avc3")
_HEVC: Final = ("hvc1", "hev1")
_HEVC_IDR: Final = (19, 20)
_HIGH: Final = 100
_BELOW_HIGH: Final = (66, 77, 88)
_LEVEL_5_2: Final = 52
_CBCS: Final = (1, 9)


@dataclass(frozen=True, slots=True)
class Scan:
    """What the NAL units of a fragment's samples are: which hold an IDR, whether any holds captions or parameter sets."""

    idr: tuple[bool, ...]
    captions: bool = False
    parameter_sets: bool = False


def flags_only(part: FragmentFacts) -> Scan:
    """For samples that cannot be looked into: the flags are believed."""
    return Scan(part.keys)


def scan(part: FragmentFacts, data: bytes, entry: SampleEntry) -> Scan:
    """Look at every NAL unit header of H.264, at HEVC's for key frames; other codecs keep their flags."""
    if entry.kind in _HEVC:
        return Scan(
            tuple(_has_hevc_idr(data, at, size, entry) for at, size in zip(part.offsets, part.sizes, strict=True))
        )
    if entry.kind not in _H264:
        return flags_only(part)
    idr, captions, sets = [], False, False
    for offset, size in zip(part.offsets, part.sizes, strict=True):
        key = False
        for start, stop in nal_units(data, offset, size, entry.nal_length):
            kind = data[start] & 31
            key |= kind == IDR
            captions |= kind == SEI and has_captions(data[start:stop])
            sets |= kind in (SPS, PPS)
        idr.append(key)
    return Scan(tuple(idr), captions, sets and entry.kind == "avc1")


def _has_hevc_idr(data: bytes, offset: int, size: int, entry: SampleEntry) -> bool:
    return any(data[start] >> 1 & 63 in _HEVC_IDR for start, _ in nal_units(data, offset, size, entry.nal_length))


def starts_with_key(part: FragmentFacts, data: bytes, entry: SampleEntry) -> bool:
    """The first sample is a key frame, by its NAL units where they can be read."""
    offset, size = part.offsets[0], part.sizes[0]
    if not part.keys[0] or entry.protection is not None or entry.kind not in (*_H264, *_HEVC):
        return part.keys[0]
    if entry.kind in _HEVC:
        return _has_hevc_idr(data, offset, size, entry)
    return any(data[start] & 31 == IDR for start, _ in nal_units(data, offset, size, entry.nal_length))


def has_captions(sei: bytes) -> bool:
    """608/708 data with at least one valid pair that is not padding: ATSC A/53 `GA94` user data of type 3 (cc_data)."""
    at = sei.find(b"\xb5\x00\x31GA94\x03")
    if at < 0 or at + 9 > len(sei):
        return False
    count, first = sei[at + 8] & 31, at + 10
    triples = (sei[first + 3 * n : first + 3 * n + 3] for n in range(count))
    return any(len(t) == 3 and t[0] & 4 and (t[1] & 127 or t[2] & 127) for t in triples)


def check_tracks(where: str, init: InitFacts, findings: Findings) -> None:
    """Rules that an init segment alone can break: 16 (sample entries), 20, 22 (interlaced), 24, 36, 40."""
    handlers = [track.handler for track in init.tracks]
    if handlers.count("soun") > 1:
        findings.add("one-audio", where, f"its segments hold {handlers.count('soun')} audio streams")
    if "vide" in handlers and "soun" in handlers:
        findings.add("separate-audio", where, "audio and video share their segments")
    for track in init.tracks:
        _check_protection(where, track, findings)
        if track.handler == "vide":
            _check_video(where, track, findings)


def _check_video(where: str, track: TrackFacts, findings: Findings) -> None:
    entry, sps = track.entry, track.entry.sps
    if entry.kind in ("avc3", "hev1", "dvhe"):
        findings.add(
            "sample-entry", where, f"the sample entry is {entry.kind}: parameter sets belong into it (avc1, hvc1)"
        )
    if sps is None:
        return
    if not sps.progressive:
        findings.add("interlaced", where, "the pictures are coded as interlaced")
    if sps.level > _LEVEL_5_2 or sps.profile not in (*_BELOW_HIGH, _HIGH):
        findings.add("h264-level", where, f"H.264 profile {sps.profile} level {sps.level / 10:g} is above High@5.2")
    elif sps.profile in _BELOW_HIGH:
        findings.add("h264-high", where, f"H.264 profile {sps.profile}; High (100) is preferred")


def _check_protection(where: str, track: TrackFacts, findings: Findings) -> None:
    protection = track.entry.protection
    if protection is None:
        return
    message = f"it is protected with {protection.scheme}; AES-128 is all that players share without DRM"
    findings.add("encryption", where, message)
    pattern = (protection.crypt_blocks, protection.skip_blocks)
    if protection.scheme == "cbcs" and track.handler == "vide" and pattern != _CBCS:
        findings.add("pattern", where, f"cbcs encrypts {pattern[0]} and skips {pattern[1]} blocks, not 1 and 9")
