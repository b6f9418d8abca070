"""A passed-through film needs no second variant of the top size, and only its report can say that it is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from packager.check import check
from packager.passthrough import REFUSED, TAKEN
from tests.packager.check.surgery import drop

SILENT = {
    "another decision": json.dumps({"decisions": [REFUSED.format("it is HDR (PQ)")]}).encode(),
    "no decisions": b"{}",
    "no list": json.dumps({"decisions": TAKEN}).encode(),
    "no object": b"[]",
    "no JSON": b"{",
    "no text": b"\xff\xfe\xff",
    "no end": b"[" * 100_000,
}


def test_one_variant_of_the_top_size_is_enough_where_it_is_the_uploads_own(passed: Path) -> None:
    report = check(str(passed))
    assert report.findings == [] and report.facts["waived"] == [31]


@pytest.mark.parametrize("report", SILENT.values(), ids=SILENT.keys())
def test_a_report_that_does_not_say_so_excuses_nothing(passed: Path, report: bytes) -> None:
    (passed / "report.json").write_bytes(report)
    checked = check(str(passed))
    assert {(finding.rule, finding.severity) for finding in checked.findings} == {(31, "should")}
    assert checked.facts["waived"] == []


def test_no_report_excuses_nothing(passed: Path) -> None:
    (passed / "report.json").unlink()
    assert {(finding.rule, finding.severity) for finding in check(str(passed)).findings} == {(31, "should")}


def test_a_film_without_any_other_variant_is_not_excused(passed: Path) -> None:
    master = passed / "master.m3u8"
    lines = master.read_text().splitlines()
    smaller = [n for n, line in enumerate(lines) if line.startswith("v") and not line.startswith("v720")]
    master.write_text("\n".join(line for n, line in enumerate(lines) if not {n, n + 1} & set(smaller)) + "\n")
    found = check(str(passed)).findings
    assert (31, "must") in {(finding.rule, finding.severity) for finding in found}


@pytest.mark.parametrize("stage", ["start", "grow"])
def test_its_stages_break_nothing(passed: Path, stage: str) -> None:
    assert check(str(passed / f"{stage}.m3u8")).findings == []


def test_other_rules_are_asked_of_it(passed: Path) -> None:
    drop("master.m3u8", "#EXT-X-INDEPENDENT-SEGMENTS")(passed)
    assert 30 in {finding.rule for finding in check(str(passed)).findings}
