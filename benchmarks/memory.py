"""Peak memory of a transcode against the length of its source: it must not grow.

    python -m benchmarks.memory [--minutes 1 10] [--size 1920x1080]

Makes a film of each length, encodes it with `packager encode` and adds up, many times a second, the proportional set size (Pss of
/proc/PID/smaps_rollup: what libraries share counts once) of the command and all its children. Prints the peak of that sum for each film and the
ratio of the longest to the shortest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POLL_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--size", default="1920x1080")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peaks = [_measure(Path(folder), minutes, arguments.size) for minutes in arguments.minutes]
    print(f"ratio {arguments.minutes[-1]:g} min / {arguments.minutes[0]:g} min: {peaks[-1] / peaks[0]:.3f}")


def _measure(folder: Path, minutes: float, size: str) -> float:
    film = folder / f"{minutes:g}.mp4"
    _film(film, minutes, size)
    command = [sys.executable, "-m", "packager.cli", "encode", str(film), str(folder / f"out-{minutes:g}"), "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = _watch(process)
    if process.returncode:
        sys.exit(f"the encode failed with exit code {process.returncode}")
    print(f"{minutes:g} min at {size}: peak {peak / 1024:.0f} MiB", flush=True)
    return peak


def _film(path: Path, minutes: float, size: str) -> None:
    """A minute of film repeated: the content is the same at every length, so only the length can make a difference."""
    minute = path.with_name("minute.mp4")
    if not minute.exists():
        make = [
            sys.executable,
            str(ROOT / "samples" / "make.py"),
            "--seconds",
            "60",
            "--size",
            size,
            "--out",
            str(minute),
        ]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    repeat(minute, path, minutes)


def repeat(minute: Path, path: Path, minutes: float) -> None:
    """Remux `minute` over and over, with no encoding."""
    import av

    with av.open(str(path), "w") as output, av.open(str(minute)) as first:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in first.streams}
        for turn in range(max(1, round(minutes))):
            with av.open(str(minute)) as source:
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None or not 0 <= packet.pts * packet.time_base < 60:
                        continue  # the sound's priming and tail would overlap the next turn
                    shift = round(60 * turn / packet.time_base)
                    packet.dts, packet.pts = packet.dts + shift, packet.pts + shift
                    packet.stream = streams[packet.stream_index]
                    output.mux(packet)


def _watch(process: subprocess.Popen[bytes]) -> float:
    """KiB: the most that the command and its children had at one time."""
    most = 0.0
    while process.poll() is None:
        most = max(most, sum(_held(pid) for pid in (process.pid, *_children(process.pid))))
        time.sleep(POLL_S)
    return most


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _held(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.startswith("Pss:")), 0.0)


if __name__ == "__main__":
    main()
