"""Renditions that an older package has already: another ladder for the same film costs only what is new in it.

What a chunk holds is a function of the source, the grid, the chunk and the rung; where an older plan agrees in all of them, its segments are ours
as well. They are copied inside the storage, each chunk's index last and only if absent, as an encoder would leave them: interrupted, the copying
goes on where it was, and what can't be copied is encoded. A rung is scaled from those above it, so a fresh encode might differ from the copy in
its bytes; so do two attempts at some of the rungs, and players can't tell.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from packager import renditions
from packager.attempt import index_key
from packager.errors import Cancelled
from packager.index import ChunkIndex
from packager.plan import AudioPlan, Plan, VideoPlan
from storage.base import ObjectExists, ObjectMissing, ObjectStore

PARALLEL = 8  # chunks on their way at a time: what costs is the wait


def same(new: Plan, old: Plan) -> frozenset[str]:
    """The renditions that both plans make, and make alike, by name."""
    if (new.format, new.source_sha256) != (old.format, old.source_sha256):
        return frozenset()
    spans, before = renditions.spans(new), renditions.spans(old)
    return frozenset(name for name in (*_rungs(new, old), *_rates(new, old)) if spans[name] == before[name])


def _rungs(new: Plan, old: Plan) -> Iterator[str]:
    if new.video and old.video and _frames(new.video) == _frames(old.video):
        yield from (rung.name for rung in new.video.rungs if rung in old.video.rungs)


def _frames(plan: VideoPlan) -> VideoPlan:
    """What all rungs have in common."""
    return replace(plan, width=0, height=0, rungs=())


def _rates(new: Plan, old: Plan) -> Iterator[str]:
    sounds = [_sound(track) for track in old.audio]
    for track in new.audio:
        if _sound(track) in sounds:
            known = old.audio[sounds.index(_sound(track))].kbps
            yield from (track.rendition(kbps) for kbps in track.kbps if kbps in known)


def _sound(plan: AudioPlan) -> AudioPlan:
    """What all rates have in common."""
    return replace(plan, kbps=())


def bring(
    store: ObjectStore, prefix: str, plan: Plan, packages: Sequence[str], cancelled: Callable[[], bool] = lambda: False
) -> frozenset[str]:
    """Copy into `prefix` what the packages under these prefixes have of the plan's renditions; which are there in whole then.

    A rendition comes from the first package that has all of it. Raises Cancelled and StorageError; what was copied stays.
    """
    brought: set[str] = set()
    for package in packages:
        wanted = same(plan, old) - brought if package != prefix and (old := _plan(store, package)) else frozenset()
        brought |= {name for name in sorted(wanted) if _bring(store, prefix, package, plan, name, cancelled)}
    return frozenset(brought)


def _plan(store: ObjectStore, package: str) -> Plan | None:
    """None for a package that is gone, or was made by a release whose plans look otherwise."""
    try:
        return Plan.from_json(store.read(f"{package}/plan.json"))
    except (ObjectMissing, ValueError):
        return None


def _bring(store: ObjectStore, prefix: str, package: str, plan: Plan, name: str, cancelled: Callable[[], bool]) -> bool:
    """One rendition; whether all of it is there."""

    def copied(index: ChunkIndex) -> None:
        if cancelled():
            raise Cancelled
        _copy(store, package, prefix, index)

    try:
        chunks = range(len(renditions.spans(plan)[name]))
        indexes = [ChunkIndex.from_json(store.read(index_key(package, name, chunk))) for chunk in chunks]
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="copy") as pool:
            list(pool.map(copied, indexes))
    except (ObjectMissing, ValueError, KeyError, TypeError):
        return False  # a broken package: what lacks is encoded
    return True


def _copy(store: ObjectStore, package: str, prefix: str, index: ChunkIndex) -> None:
    """A chunk, unless somebody has made it already. ObjectMissing when a segment is not what its index says."""
    key = index_key(prefix, index.rendition, index.chunk)
    with contextlib.suppress(ObjectMissing):
        store.head(key)
        return
    folder = f"/{index.rendition}/"
    store.copy(f"{package}{folder}{index.init}", f"{prefix}{folder}{index.init}")
    for entry in index.segments:
        copy = store.copy(f"{package}{folder}{entry.uri}", f"{prefix}{folder}{entry.uri}")
        if copy.size != entry.size:
            raise ObjectMissing(f"{package}{folder}{entry.uri} has {copy.size} bytes, not {entry.size}")
    with contextlib.suppress(ObjectExists):
        store.put(key, index.to_json(), type="application/json", if_absent=True)
