"""The house rules that a machine can check. docs/architecture.md says why they are so."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from streamer.config import Config
from tests.servers import ROOT

# Who may know whom.
PACKAGES = {
    "storage": set(),
    "packager": {"storage"},
    "streamer": {"storage", "packager"},
    "admin": {"storage", "streamer"},
}
# Domains inside streamer, in the order in which they may know each other; those on one line are strangers.
DOMAINS = (
    ("events",),
    ("accounts",),
    ("jobs", "webhooks"),
    ("membership",),
    ("catalog",),
    ("billing",),
    ("ingest", "delivery"),
    ("audience", "live", "ops"),
    ("site",),
)
RANK = {domain: rank for rank, domains in enumerate(DOMAINS) for domain in domains}
# The places that put the domains together; everything else at the top of streamer stands below all domains.
ROOTS = {"streamer.app", "streamer.cli", "streamer.__main__", "streamer.migrations.env"}
LONGEST = 400  # a file should be split by 350 lines; this is where the test ends the discussion

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "node_modules" not in path.parts
}
PAGES = [ROOT / name for name in subprocess.check_output(["git", "ls-files", "*.md"], cwd=ROOT, text=True).split()]


def test_packages_know_only_those_below_them() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, other in _imports()
        if _package(module) != _package(other)
        and _package(other) not in PACKAGES[_package(module)]
        and (module, _package(other)) != ("streamer.app", "admin")
    ]
    assert wrong == []


def test_domains_know_only_those_before_them() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, other in _imports()
        if _package(module) == "streamer" and module not in ROOTS and not _may_know(_domain(module), _domain(other))
    ]
    assert wrong == []


def test_every_folder_of_streamer_has_its_place_in_the_order() -> None:
    folders = {path.name for path in (ROOT / "streamer").iterdir() if (path / "__init__.py").exists()}
    assert folders - RANK.keys() == {"migrations", "ui"}


def test_no_module_imports_itself_in_a_circle() -> None:
    known: dict[str, set[str]] = {}
    for module, other in _imports():
        known.setdefault(module, set()).add(other)
    try:
        TopologicalSorter(known).prepare()
    except CycleError as cycle:
        pytest.fail(" imports ".join(reversed(cycle.args[1])))


def test_only_the_composition_root_names_admin() -> None:
    users = {module for module, other in _imports() if _package(other) == "admin" and _package(module) != "admin"}
    assert users <= {"streamer.app"}


def test_web_processes_never_import_the_codecs() -> None:
    code = "import sys, streamer.app, streamer.web; print([m for m in ('av', 'numpy', 'boto3') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_what_is_imported_is_declared() -> None:
    """A package that only another one, or only the test tools, bring along would be missing one day."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[<>=; ]", line)[0].lower().replace("_", "-") for line in project["dependencies"]}
    brings = packages_distributions()
    used = {name for path in MODULES.values() for name in _foreign(_tree(path))}
    lost = {name for name in used if not declared & {dist.lower().replace("_", "-") for dist in brings.get(name, [])}}
    assert lost - {"botocore", "anyio"} == set()  # boto3 and Starlette are built on these and hand out their types


def test_every_module_says_what_it_is() -> None:
    silent = [name for name, path in MODULES.items() if path.stat().st_size and not ast.get_docstring(_tree(path))]
    assert silent == []


def test_no_file_is_too_long_and_none_is_a_drawer() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}
    assert [name for name in MODULES if name.rpartition(".")[2] in ("utils", "util", "helpers", "common", "misc")] == []


def test_clients_of_the_tests_read_no_certificates() -> None:
    """Each would take 30 ms of a test to do so, see tests/web.py."""
    makers = {"Client", "get", "post", "put", "patch", "delete", "head", "options", "request", "stream"}
    calls = [
        (f"{path.relative_to(ROOT)}:{node.lineno}", {keyword.arg for keyword in node.keywords})
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in makers
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "httpx2"
    ]
    assert len(calls) > 20 and [place for place, said in calls if "verify" not in said] == []


def test_every_setting_is_explained_in_code_and_in_config_toml() -> None:
    text = (ROOT / "config.toml").read_text()
    shown = tomllib.loads(text)
    for section, name, description in _settings(Config):
        assert description, f"{section}.{name} has no docstring"
        assert name in shown[section], f"{section}.{name} is not in config.toml"
    unexplained = re.findall(r"^(?!#)[^\n]*\n(\w+) = ", text, re.MULTILINE)
    assert unexplained == [], "settings without a comment above them"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_in_the_documents_lead_somewhere(page: Path) -> None:
    broken = [link for link in _links(page) if not _leads_somewhere(page, link)]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_in_the_documents_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE))
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_in_the_documents_exist(page: Path) -> None:
    known = {f"{section}.{name}" for section, name, _ in _settings(Config)}
    sections = {name.partition(".")[0] for name in known}
    named = re.findall(r"`([a-z]+)\.([a-z_]+)`", page.read_text())
    assert {f"{section}.{name}" for section, name in named if section in sections and name != "toml"} <= known


def _imports() -> list[tuple[str, str]]:
    """Each (module, module it imports) inside the house, wherever in the file the import stands."""
    return [
        (module, other)
        for module, path in MODULES.items()
        for node in ast.walk(_tree(path))
        for other in _imported(node, module)
        if other != module
    ]


def _imported(node: ast.AST, module: str) -> set[str]:
    if isinstance(node, ast.Import):
        return {found for alias in node.names if (found := _module(alias.name))}
    if isinstance(node, ast.ImportFrom):
        assert not node.level, f"{module}: relative imports hide who is known"
        # `from package import name`: the name is a module of its own, or something inside the package.
        names = {f"{node.module}.{alias.name}" for alias in node.names}
        return {found for name in names if (found := _module(name))}
    return set()


def _foreign(tree: ast.Module) -> set[str]:
    """The top-level names of other people's packages that a file needs at run time."""
    names = {alias.name for node in _run_time(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in _run_time(tree) if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - PACKAGES.keys()


def _run_time(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _run_time(node)


def _module(name: str) -> str:
    """The module of ours that a dotted name lies in, `""` for other people's."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def _package(module: str) -> str:
    return module.partition(".")[0]


def _domain(module: str) -> str:
    """The streamer domain a module lives in, `""` when it lives in none."""
    parts = module.split(".")
    return parts[1] if parts[0] == "streamer" and len(parts) > 1 and parts[1] in RANK else ""


def _may_know(domain: str, other: str) -> bool:
    """Modules of no domain (config, db, errors…) stand below all domains."""
    return domain == other or not other or (bool(domain) and RANK[other] < RANK[domain])


def _settings(model: type[BaseModel]) -> list[tuple[str, str, Any]]:
    sections = {name: field.annotation for name, field in model.model_fields.items()}
    return [
        (section, name, field.description)
        for section, kind in sections.items()
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for name, field in kind.model_fields.items()
    ]


def _links(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return [
        link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith(("http:", "https:", "mailto:"))
    ]


def _leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
