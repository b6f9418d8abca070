"""The `packager` command: probe, encode, check. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the source was refused, 4 rules are broken."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from packager import destination, pipeline
from packager.errors import PackagerError, SourceRefused
from packager.facts import SourceFacts
from packager.pipeline import Options, Progress
from storage.base import KeyRefused, ObjectStore, StorageError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Source in, HLS out: probe a film, encode it, check a package."
)
JSON = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of text for people.")]
FAILED, REFUSED, BROKEN = 1, 3, 4


def main() -> None:
    """Entry point: errors become one sentence on stderr and an exit code."""
    try:
        app()
    except PackagerError as error:
        _fail(error.code, f"{error.title}. {error.detail}", REFUSED if isinstance(error, SourceRefused) else FAILED)
    except StorageError as error:
        _fail("storage", str(error), FAILED)


def _fail(code: str, sentence: str, status: int) -> NoReturn:
    if "--json" in sys.argv:
        print(json.dumps({"error": {"code": code, "detail": sentence}}))
    else:
        print(f"packager: {sentence}", file=sys.stderr)
    sys.exit(status)


@app.command()
def probe(source: Path, as_json: JSON = False) -> None:
    """Say what SOURCE holds."""
    facts = pipeline.probe(source)
    if as_json:
        print(json.dumps(_facts(facts)))
        return
    print(f"{source.name}: {facts.container}, {float(facts.end - facts.start):.2f} s")
    if video := facts.video:
        width, height = video.display_size
        print(
            f"  video {video.index}: {video.codec} {width}x{height}, {float(video.rate):.3f} fps, {len(video.pts)} frames, {video.colour.dynamic_range}"
        )
    for audio in facts.audio:
        print(
            f"  audio {audio.index}: {audio.codec}, {audio.channels} channels, {audio.sample_rate} Hz, {audio.language}"
        )
    for text in facts.text:
        print(f"  text  {text.index}: {text.codec}, {len(text.cues)} cues, {text.language}")
    for note in facts.notes:
        print(f"  note: {note}")


def _facts(facts: SourceFacts) -> dict[str, Any]:
    """The facts without the packet index."""
    plain: dict[str, Any] = json.loads(pipeline.FACTS.dump_json(facts))
    if plain["video"]:
        plain["video"]["frames"] = len(plain["video"].pop("pts"))
        plain["video"]["key_frames"] = len(plain["video"].pop("key_pts"))
        del plain["video"]["h264"]  # what passthrough weighs; the notes of a plan say what came of it
    return plain


@app.command()
def encode(
    source: Path,
    dest: Annotated[str, typer.Argument(help="A folder or s3://bucket/prefix.")],
    as_json: JSON = False,
    max_short_side: Annotated[
        int, typer.Option(min=90, help="Largest short side in pixels; sources are never upscaled.")
    ] = 1080,
) -> None:
    """Encode SOURCE into adaptive HLS at DEST. Killed and started again, it goes on where it was."""
    with _destination(dest) as (store, prefix), _progress(source.name, as_json) as report:
        package = pipeline.encode(source, store, prefix, report=report, options=Options(max_short_side=max_short_side))
    if as_json:
        print(json.dumps({"package": asdict(package)}))
        return
    for rendition in package.renditions:
        size = f" {rendition.width}x{rendition.height}" if rendition.width else ""
        print(
            f"  {rendition.name}{size}: {rendition.codecs}, {rendition.average_bandwidth / 1000:.0f} kb/s, peak {rendition.bandwidth / 1000:.0f}"
        )
    for note in package.report["decisions"]:
        print(f"  note: {note}")
    print(f"{dest.partition('?')[0].rstrip('/')}/{package.master}")


@contextmanager
def _destination(dest: str) -> Iterator[tuple[ObjectStore, str]]:
    with ExitStack() as stack:
        try:
            place = stack.enter_context(destination.opened(dest))
        except (KeyRefused, ValueError) as error:
            raise typer.BadParameter(f"{dest} can't be a destination ({error})") from error
        yield place


@contextmanager
def _progress(name: str, as_json: bool) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, a line each five percent in a pipe, JSON lines for machines. All but JSON go to stderr."""
    if as_json:
        yield lambda progress: print(json.dumps({"progress": asdict(progress)}), flush=True)
    elif sys.stderr.isatty():
        with _bar() as bar:
            task = bar.add_task(name, total=100, detail="")
            yield lambda p: bar.update(task, completed=p.percent, description=f"{name} · {p.stage}", detail=_detail(p))
    else:
        yield _plain_lines(name)


def _bar() -> Bar:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[detail]}"))
    return Bar(*columns, console=Console(stderr=True))


def _detail(progress: Progress) -> str:
    speed = f"{progress.speed:.1f}x" if progress.speed else ""
    eta = f"{progress.eta_s:.0f} s left" if progress.eta_s is not None and progress.speed else ""
    return " · ".join(filter(None, (speed, eta)))


def _plain_lines(name: str) -> Callable[[Progress], None]:
    shown: list[tuple[str, int]] = []

    def report(progress: Progress) -> None:
        step = (progress.stage, int(progress.percent // 5))
        if not shown or shown[-1] != step:
            shown.append(step)
            print(
                f"{name}: {progress.stage} {progress.percent:.0f} % {_detail(progress)}".rstrip(),
                file=sys.stderr,
                flush=True,
            )

    return report


@app.command()
def check(
    location: Annotated[
        str, typer.Argument(help="A folder, s3://bucket/prefix, or file or URL of a multivariant playlist.")
    ],
    as_json: JSON = False,
) -> None:
    """Test every rule we promise on the bytes of a package."""
    from packager.check import check as run_check  # its readers are of no use to the other commands

    report = run_check(location)
    if as_json:
        print(json.dumps(asdict(report)))
    else:
        for finding in report.findings:
            print(
                f"{finding.severity.upper():6} rule {finding.rule} · {finding.where}: {finding.message} ({finding.source})"
            )
        broken = sum(finding.severity == "must" for finding in report.findings)
        waived = ", ".join(map(str, report.facts.get("waived", [])))
        tail = f"; not for this package: {waived}" if waived else ""
        print(f"{location}: {broken} MUST and {len(report.findings) - broken} SHOULD rules broken{tail}")
    if any(finding.severity == "must" for finding in report.findings):
        sys.exit(BROKEN)


if __name__ == "__main__":
    main()
