"""Which renditions of two plans are the same, and that those are copied instead of encoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from packager import pipeline, plan, reuse, sandbox
from packager.attempt import finished_chunks
from packager.errors import Cancelled
from packager.ladder import Step, step
from packager.plan import Plan
from storage import ObjectMissing, StorageDown
from storage.local import LocalStore
from tests.packager import films
from tests.packager.encoding import PREFIX, SMALL, Made, assert_obeys_the_rules, encode_file
from tests.packager.films import Film, Sound

OTHER = "asset/other"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two rungs, two rates of sound, two chunks."""
    folder = tmp_path_factory.mktemp("made")
    film = Film(seconds=9, size=(480, 270), sounds=(Sound(seconds=9),))
    return encode_file(films.make(folder / "film.mp4", film), folder, film)


@pytest.fixture
def store(made: Made, tmp_path: Path) -> LocalStore:
    """A copy that a test may damage."""
    copy = LocalStore(tmp_path)
    for info in made.store.list(PREFIX):
        copy.put(info.key, made.store.read(info.key), type=info.type)
    return copy


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What children are started for: the task, and its rungs or its rates."""
    started: list[tuple[str, Any]] = []
    real = sandbox.run

    def noted(task: str, request: dict[str, Any], **options: Any) -> Iterator[sandbox.Message]:
        started.append((task, tuple(request.get("rungs") or request.get("rates") or ())))
        return real(task, request, **options)

    monkeypatch.setattr(sandbox, "run", noted)
    return started


def planned(made: Made, **options: Any) -> Plan:
    return plan.make(pipeline.probe(made.source), old(made).source_sha256, replace(SMALL, **options))


def old(made: Made) -> Plan:
    return Plan.from_json(made.store.read(f"{PREFIX}/plan.json"))


def bytes_of(store: LocalStore, prefix: str, rendition: str) -> dict[str, bytes]:
    """The rendition's indexes, init and segments by their names; playlists are made anew."""
    found = {info.key.removeprefix(f"{prefix}/"): store.read(info.key) for info in store.list(f"{prefix}/{rendition}/")}
    return {name: data for name, data in found.items() if not name.endswith(".m3u8")}


def test_what_two_plans_have_in_common_is_named(made: Made) -> None:
    before = old(made)
    top, small, best, low = "v270-209k", "v234-116k", "a1-128k", "a1-48k"
    assert before.video and {rung.name for rung in before.video.rungs} == {top, small}
    assert reuse.same(before, before) == {top, small, best, low}
    assert reuse.same(planned(made, max_short_side=240), before) == {best, low}, "too near to 240 for 234"
    assert reuse.same(planned(made, loudness=None), before) == {top, small}
    assert reuse.same(planned(made, audio_kbps=(48, 96)), before) == {top, small, low}
    assert reuse.same(planned(made, ladder=(Step(234, 116, 25.0), Step(270, 209, 20.0))), before) == {small, best, low}
    assert reuse.same(planned(made, segments_per_chunk=5), before) == {top, small, best, low}, "the same two chunks"
    for other in (replace(before, source_sha256="0" * 64), replace(before, format=before.format - 1)):
        assert reuse.same(before, other) == frozenset()


def test_rungs_on_another_grid_have_nothing_in_common(made: Made) -> None:
    before = old(made)
    assert before.video
    moved = replace(before, video=replace(before.video, origin=before.video.origin + 1))
    assert reuse.same(before, moved) == {"a1-128k", "a1-48k"}


def test_only_new_rungs_are_encoded_and_the_others_keep_their_bytes(
    made: Made, store: LocalStore, tasks: list[tuple[str, Any]]
) -> None:
    options = replace(SMALL, ladder=(step(234, 116), step(250, 150)))
    package = pipeline.encode(made.source, store, OTHER, options=options, packages=["asset/gone", PREFIX])
    names = {rendition.name for rendition in package.renditions}
    (new,) = names - {rendition.name for rendition in made.package.renditions}
    assert new.startswith("v250-") and names > {"v234-116k", "a1-128k", "a1-48k"}
    assert {task for task in tasks if task[0] not in ("probe", "stills")} == {("chunk", (new,))}
    for kept in names - {new}:
        assert bytes_of(store, OTHER, kept) == bytes_of(store, PREFIX, kept)
    film = replace(made, store=store, package=package, folder=store.root / OTHER)
    assert_obeys_the_rules(film)
    assert not [info.key for info in store.list(OTHER) if info.key.endswith(".m4s") and not _named(store, info.key)]


def _named(store: LocalStore, key: str) -> bool:
    chunks = finished_chunks(store, OTHER).values()
    return key in {f"{OTHER}/{chunk.rendition}/{entry.uri}" for chunk in chunks for entry in chunk.segments}


def test_the_same_plan_again_costs_a_poster(made: Made, store: LocalStore, tasks: list[tuple[str, Any]]) -> None:
    package = pipeline.encode(made.source, store, OTHER, options=SMALL, packages=[PREFIX])
    assert [task for task, _ in tasks] == ["probe", "stills"]
    assert package.renditions == made.package.renditions
    copied = replace(made, store=store, package=package, folder=store.root / OTHER)
    assert_obeys_the_rules(copied)


def test_what_is_broken_in_the_old_package_is_encoded(
    made: Made, store: LocalStore, tasks: list[tuple[str, Any]]
) -> None:
    """A segment that is not as long as its index says, and an index that is gone."""
    cut = next(info.key for info in store.list(f"{PREFIX}/v270") if info.key.endswith("/000001.m4s"))
    store.put(cut, store.read(cut)[:-1], type="video/iso.segment")
    store.delete(f"{PREFIX}/a1-48k/0001.json")
    package = pipeline.encode(made.source, store, OTHER, options=SMALL, packages=[PREFIX])
    worked = {task for task in tasks if task[0] not in ("probe", "stills")}
    assert worked == {("chunk", ("v270-209k",)), ("audio", ("a1-48k",))}
    mended = replace(made, store=store, package=package, folder=store.root / OTHER)
    assert_obeys_the_rules(mended)
    assert not [info.key for info in store.list(OTHER) if info.key.endswith(".m4s") and not _named(store, info.key)]


def test_copying_that_was_interrupted_goes_on_where_it_was(
    made: Made, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    real = LocalStore.copy

    def failing(self: LocalStore, source: str, key: str) -> Any:
        if len(copied) == 5:
            raise StorageDown("no answer")
        copied.append(key)
        return real(self, source, key)

    before = old(made)
    with monkeypatch.context() as fault, pytest.raises(StorageDown):
        fault.setattr(reuse, "PARALLEL", 1)
        fault.setattr(LocalStore, "copy", failing)
        reuse.bring(store, OTHER, before, [PREFIX])
    finished = {info.key: info.etag for info in store.list(OTHER) if info.key.endswith(".json")}
    assert finished and len(finished) < 8
    assert reuse.bring(store, OTHER, before, [PREFIX]) == reuse.same(before, before)
    after = {info.key: info.etag for info in store.list(OTHER) if info.key.endswith(".json")}
    assert len(after) == 8 and finished.items() <= after.items()


def test_a_cancel_ends_the_copying(made: Made, store: LocalStore) -> None:
    with pytest.raises(Cancelled):
        reuse.bring(store, OTHER, old(made), [PREFIX], lambda: True)
    with pytest.raises(ObjectMissing):
        store.head(f"{OTHER}/v270-209k/0000.json")
