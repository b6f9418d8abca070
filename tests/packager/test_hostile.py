"""Uploads that mean harm: programs dressed as films, bombs, and mutated files. Each ends in one error or in a film; nothing else happens."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import pytest

from packager import pipeline, source
from packager.errors import PackagerError, SourceRefused
from packager.fmp4 import init_segment
from packager.pipeline import Options
from packager.sandbox import Limits
from storage.memory import MemoryStore
from tests.packager import films, tiny
from tests.packager.films import Film, Sound
from tests.packager.processes import children, wait_until

CANARY = "canary-3f9a1c"
MUTATIONS = int(os.environ.get("FUZZ_FILES", "200"))
ENCODED_OF = 8  # of the mutants that pass the probe, every so many is encoded
MEMORY_MB = 512


# ---- programs dressed as films --------------------------------------------------------------------------------------


@dataclass
class Listener:
    """A server on the loopback that answers nobody and counts who came."""

    port: int
    connects: list[object] = field(default_factory=list)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server, _udp(server.getsockname()[1]):
        heard = Listener(server.getsockname()[1])
        thread = threading.Thread(target=_count, args=(server, heard), daemon=True)
        thread.start()
        yield heard
        with socket.create_connection(("127.0.0.1", heard.port)):  # the proof that it would have counted
            wait_until(lambda: heard.connects)
        assert len(heard.connects) == 1, "somebody connected"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def _udp(port: int) -> Iterator[None]:
    """For SDP, which would open a datagram socket: nothing may arrive, and nobody else may take the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", port))
        datagrams.setblocking(False)
        yield
        with pytest.raises(BlockingIOError):
            datagrams.recv(1)


def _count(server: socket.socket, heard: Listener) -> None:
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            heard.connects.append(connection.getpeername())
            connection.close()


PROGRAMS = {
    "text": "dear diary, today I uploaded a film\n" * 100,
    "html": "<!doctype html><video src='http://127.0.0.1:{port}/x.mp4'></video><img src='file://{canary}'>",
    "svg": "<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1:{port}/x'/></svg>",
    "m3u8 over http": "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\nhttp://127.0.0.1:{port}/x.ts\n#EXT-X-ENDLIST\n",
    "m3u8 of a file": "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\nfile://{canary}\n#EXTINF:6,\nneighbour.mp4\n#EXT-X-ENDLIST\n",
    "m3u8 with a key": "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"http://127.0.0.1:{port}/k\"\n#EXTINF:6,\nneighbour.mp4\n#EXT-X-ENDLIST\n",
    "multivariant m3u8": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://127.0.0.1:{port}/v.m3u8\n",
    "ffconcat": "ffconcat version 1.0\nfile neighbour.mp4\nfile '{canary}'\n",
    "concat without its first line": "file neighbour.mp4\nfile '{canary}'\n",
    "ffmetadata": ";FFMETADATA1\ntitle=x\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "mpd": "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'><Period><AdaptationSet>"
    "<Representation id='1' bandwidth='1'><BaseURL>http://127.0.0.1:{port}/x.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "smooth manifest": "<SmoothStreamingMedia MajorVersion='2'><StreamIndex Url='http://127.0.0.1:{port}/x'/></SmoothStreamingMedia>",
    "asx": "<asx version='3'><entry><ref href='http://127.0.0.1:{port}/x.wmv'/></entry></asx>",
    "asf redirector": "[Reference]\nRef1=http://127.0.0.1:{port}/x.asf\n",
    "rtsp text": "RTSPtext rtsp://127.0.0.1:{port}/x\n",
    "playlist": "[playlist]\nFile1=http://127.0.0.1:{port}/x.mp3\n",
    "subtitles": "1\n00:00:00,000 --> 00:00:01,000\n<img src='http://127.0.0.1:{port}/x'>\n",
    "image text": "P3\n2 2\n255\n0 0 0 0 0 0 0 0 0 0 0 0\n",
}  # fmt: skip
NAMES = ("film.mp4", "film.m3u8", "film.ffconcat", "film.sdp", "film.mpd", "frame%03d.png", "concat:neighbour.mp4")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an upload lies, with a neighbour who must not be read."""
    (tmp_path / "canary.txt").write_text(CANARY)
    films.make(tmp_path / "neighbour.mp4", Film(seconds=0.5, title=CANARY))
    for number in range(3):
        (tmp_path / f"frame{number:03}.png").write_bytes(png(16, 16))
    return tmp_path


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_dressed_as_a_film_is_refused_unread_and_unsaid(
    program: str, folder: Path, listener: Listener
) -> None:
    text = PROGRAMS[program].replace("{port}", str(listener.port)).replace("{canary}", str(folder / "canary.txt"))
    for name in NAMES:
        upload = folder / name
        upload.write_text(text)
        # Without the sandbox: what is never opened needs no lock.
        with pytest.raises(SourceRefused) as caught:
            source.open_source(str(upload))
        assert CANARY not in str(caught.value)
    store = MemoryStore()
    with pytest.raises(SourceRefused) as refused:
        pipeline.encode(upload, store, "a/b")
    assert refused.value.code == "not_media" and not refused.value.retryable
    assert CANARY not in str(refused.value) and not list(store.list(""))


def test_a_name_is_never_a_pattern_or_a_protocol(folder: Path) -> None:
    for name in ("frame%03d.mp4", "concat:a|b.mp4", "-i.mp4", "pipe:0", "film.m3u8"):
        films.make(folder / "real.mp4", Film(seconds=0.3)).rename(folder / name)
        assert pipeline.probe(folder / name).video


def test_a_playlist_inside_an_avi_s_subtitles_is_not_followed(folder: Path, listener: Listener) -> None:
    """GAB2 chunks hold a file of their own, which FFmpeg opens with a demuxer of its own choice."""
    inner = PROGRAMS["m3u8 over http"].replace("{port}", str(listener.port)).encode()
    gab2 = b"GAB2\0\x02\0" + struct.pack("<I", 2) + b"x\0" + b"\x04\0" + struct.pack("<I", len(inner)) + inner
    path = films.make(folder / "film.avi", Film(seconds=0.5, codec="mpeg4", sounds=(Sound(seconds=0.5, codec="mp3"),)))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"01wb", b"01sb", 1).replace(b"auds", b"txts", 1))
    at = path.read_bytes().index(b"01sb")
    data = path.read_bytes()
    path.write_bytes(data[: at + 4] + struct.pack("<I", len(gab2)) + gab2 + data[at + 8 :])
    with suppress(PackagerError):
        pipeline.encode(path, MemoryStore(), "a/b")


def test_a_film_whose_media_is_said_to_lie_elsewhere_does_not_read_it(folder: Path) -> None:
    """A QuickTime data reference names another file."""
    path = films.make(folder / "film.mov", Film(seconds=0.5, sounds=()))
    data = path.read_bytes()
    at = data.index(b"url \0\0\0\x01")
    path.write_bytes(data[: at + 7] + b"\0" + data[at + 8 :])
    with suppress(PackagerError):
        assert CANARY not in repr(pipeline.probe(path))


# ---- bombs ----------------------------------------------------------------------------------------------------------

WEIGHED = """
import json, re, resource, sys
from pathlib import Path
from packager import pipeline
from packager.errors import PackagerError
from storage.memory import MemoryStore
store = MemoryStore()
try:
    pipeline.encode(Path(sys.argv[1]), store, "a/b")
    result = "ready"
except PackagerError as error:
    result = error.code
own = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])  # ru_maxrss starts at the peak of who started us
peak = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(json.dumps([result, peak // 1024, len(list(store.list("")))]))
"""


def weighed(path: Path) -> tuple[str, int, int]:
    """(error code or "ready", peak memory of parent and children in MB, objects stored) of an encode in a process of its own."""
    command = [sys.executable, "-c", WEIGHED, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    code, peak, objects = json.loads(ran.stdout)
    return code, peak, objects


@cache
def png(width: int, height: int) -> bytes:
    """An all-black RGB picture: a thousand to one when compressed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compressobj(9)
    body = b"".join(rows.compress(bytes(1 + 3 * width)) for _ in range(height)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def assert_harmless(path: Path, *codes: str) -> None:
    code, peak, objects = weighed(path)
    assert code in codes and peak < MEMORY_MB, (code, peak)
    assert (objects > 0) == (code == "ready")


def test_a_huge_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(png(12000, 12000))
    assert_harmless(path, "not_media")


def test_a_huge_picture_in_a_film_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "film.mov"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb24"
        stream.codec_context.open()
        for number in range(3):
            packet = av.Packet(png(12000, 12000))
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            packet.is_keyframe = True
            out.mux(packet)
    assert path.stat().st_size < 4_000_000
    assert_harmless(path, "nothing_to_play", "not_media", "too_much_memory")


def test_a_huge_cover_is_left_out_and_the_song_published(tmp_path: Path) -> None:
    song = films.make(tmp_path / "song.flac", Film(video=False, sounds=(Sound(seconds=1, codec="flac"),))).read_bytes()
    cover = png(12000, 12000)
    picture = struct.pack(">II9sIIIIII", 3, 9, b"image/png", 0, 12000, 12000, 24, 0, len(cover)) + cover
    block = struct.pack(">I", 6 << 24 | len(picture)) + picture
    first = 8 + int.from_bytes(song[5:8], "big")  # after STREAMINFO
    path = tmp_path / "covered.flac"
    path.write_bytes(song[:first] + block + song[first:])
    assert pipeline.probe(path).cover is not None
    assert_harmless(path, "ready")


@pytest.mark.parametrize("seconds", [90_000, 1_000_000_000])
def test_time_stamps_that_span_days_or_years_are_refused(seconds: int, tmp_path: Path) -> None:
    """A plan would have counted a slot for each half second of it."""
    times = (Fraction(0), Fraction(1), Fraction(seconds))
    path = films.make(tmp_path / "film.mkv", Film(times=times, ticks=1000, sounds=(), gop=1))
    assert_harmless(path, "too_long")


def test_ten_thousand_streams_are_refused(tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.mp4", Film(seconds=0.3, sounds=()))
    data = path.read_bytes()
    moov, trak = data.index(b"moov") - 4, data.index(b"trak") - 4
    size = int.from_bytes(data[trak : trak + 4], "big")
    more = data[trak : trak + size] * 10_000
    whole = int.from_bytes(data[moov : moov + 4], "big") + len(more)
    path.write_bytes(data[:moov] + whole.to_bytes(4, "big") + data[moov + 4 : trak] + more + data[trak:])
    assert_harmless(path, "not_media", "too_many_streams")


def test_a_million_tiny_packets_are_read_in_bounded_memory(tmp_path: Path) -> None:
    count, init = 1_000_000, init_segment(tiny.video(frames=2)[0])
    tfhd = box(b"tfhd", struct.pack(">IIII", 0x020018, 1, 1000, 1))
    trun = box(b"trun", struct.pack(">III", 0x1, count, 0))
    traf = box(b"traf", tfhd, box(b"tfdt", struct.pack(">IQ", 1 << 24, 0)), trun)
    moof = box(b"moof", box(b"mfhd", struct.pack(">II", 0, 1)), traf)
    moof = moof[:-4] + struct.pack(">I", len(moof) + 8)  # where the data begin
    path = tmp_path / "film.mp4"
    path.write_bytes(init + moof + box(b"mdat", bytes(count)))
    assert_harmless(path, "nothing_to_play", "not_media", "too_long", "undecodable")


def box(kind: bytes, *parts: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)


def test_a_subtitle_track_of_endless_lines_does_not_grow_the_package_without_end(tmp_path: Path) -> None:
    cues = [(n / 1000, 3000.0, "x" * 500) for n in range(3000)]
    path = films.subtitled(tmp_path / "film.mkv", cues, Film(seconds=1))
    code, peak, _ = weighed(path)
    assert code in ("ready", "truncated") and peak < MEMORY_MB


# ---- mutated files --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Small whole films in the usual containers."""
    folder = tmp_path_factory.mktemp("seeds")
    film = Film(seconds=0.4, size=(64, 36), gop=5, sounds=(Sound(seconds=0.4),))
    films.make(folder / "a.mp4", film)
    films.make(folder / "b.mp4", film, movflags="+frag_keyframe+empty_moov")
    films.make(folder / "c.mkv", film)
    films.make(folder / "d.ts", film)
    films.make(
        folder / "e.avi", Film(seconds=0.4, size=(64, 36), codec="mpeg4", sounds=(Sound(seconds=0.4, codec="mp3"),))
    )
    films.make(folder / "f.flac", Film(video=False, sounds=(Sound(seconds=0.4, codec="flac"),)))
    films.make(
        folder / "g.mov",
        Film(seconds=0.4, size=(64, 36), codec="png", pixels="rgb24", sounds=(Sound(seconds=0.4, codec="pcm_s16le"),)),
    )
    films.subtitled(folder / "h.mkv", [(0.1, 0.3, "a line")], film)
    return {path.name: path.read_bytes() for path in sorted(folder.glob("?.*")) if path.suffix != ".srt"}


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Bytes flipped, cut off, doubled, zeroed, filled or moved: one to eight times, more often near the front, where headers are."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at = int(len(made) * chance.random() ** chance.choice((1, 3)))
        length = chance.choice((1, 2, 4, 16, 256))
        match chance.randrange(6):
            case 0:
                made[at : at + 1] = bytes([chance.randrange(256)])
            case 1 if chance.random() < 0.3:
                del made[max(64, at) :]
            case 2:
                made[at:at] = made[at : at + length]
            case 3:
                made[at : at + length] = bytes(min(length, len(made) - at))
            case 4:
                made[at : at + length] = b"\xff" * min(length, len(made) - at)
            case _:
                made[at : at + length] = chance.randbytes(min(length, len(made) - at))
    return bytes(made)


def survived(number: int, seeds: dict[str, bytes], folder: Path) -> str:
    """What became of mutant `number`: "ready" or an error's code. Anything but a PackagerError is a bug."""
    chance = random.Random(number)
    name = chance.choice(sorted(seeds))
    path = folder / f"{number}-{name}"
    path.write_bytes(mutated(seeds[name], chance))
    limits = Limits(memory_bytes=2 << 30, cpu_s=60, stall_s=20)
    try:
        pipeline.probe(path)
        if number % ENCODED_OF == 0:
            pipeline.encode(path, MemoryStore(), "a/b", options=Options(segments_per_chunk=1), limits=limits)
        return "ready"
    except PackagerError as error:
        return error.code
    except Exception as error:
        raise AssertionError(f"mutant {number} of {name}") from error
    finally:
        path.unlink()


@pytest.mark.timeout(60 + MUTATIONS * 2)
def test_mutated_films_end_ready_or_in_one_error(seeds: dict[str, bytes], tmp_path: Path) -> None:
    """Set FUZZ_FILES=2000 for the long run."""
    before = children()
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda number: survived(number, seeds, tmp_path), range(MUTATIONS)))
    assert children() <= before
    outcomes = {code: results.count(code) for code in set(results)}
    assert outcomes["ready"] > MUTATIONS / 10 and outcomes["not_media"] > MUTATIONS / 100, outcomes
    assert outcomes.get("decoder_failed", 0) + outcomes.get("stalled", 0) == 0, outcomes
