"""The import law: imports only fall, siblings do not see each other, the core stays pure."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PURE_FORBIDS = ("trio", "sqlite3", "socket", "structlog", "trio_websocket", "watchfiles")

# Package or module → what it may import of ours besides itself. Everything else is an upward or sideways import.
BASE = {"observatory.core", "observatory.telemetry", "actors"}
LAW: dict[str, set[str]] = {
    "actors": set(),
    "observatory.core": set(),
    "observatory.config": {"observatory.core"},
    "observatory.pricing": {"observatory.core"},  # a package's prices as our table: only a command asks for them
    "observatory.telemetry": {"observatory.core", "actors"},
    "observatory.storage": BASE,
    "observatory.sinks": {*BASE, "observatory.storage"},  # what it copies is the archive
    "observatory.engines": BASE,
    "observatory.server": BASE,
    "observatory.ingest": BASE,
    "observatory.client": BASE,
    "observatory.notify": BASE,
    "observatory.hook": set(),  # a program of its own: the standard library only
    "observatory.publishing": BASE,
    "observatory.probe": {*BASE, "observatory.ingest", "observatory.publishing"},
    "observatory.commanded": {*BASE, "observatory.storage"},
    # for embedding: knows no settings
    "observatory.monitor": {
        *BASE,
        "observatory.storage",
        "observatory.ingest",
        "observatory.commanded",
        "observatory.probe",
        "observatory.publishing",
    },
    # what the HTTP API serves: it asks the archive itself, and the rest of the server by what it is given
    "observatory.api": {
        *BASE,
        "observatory.server",
        "observatory.storage",
        "observatory.export",
        "observatory.reporting",
    },
    "observatory.reporting": {*BASE, "observatory.storage", "observatory.pricing"},
    "observatory.notifying": {
        *BASE,
        "observatory.config",
        "observatory.notify",
        "observatory.pricing",
        "observatory.storage",
    },
    "observatory.mirroring": {*BASE, "observatory.config", "observatory.sinks", "observatory.storage"},
    "observatory.demo": {"observatory.core"},  # what the demo writes; the server knows nothing of it
    "observatory.app": {
        *BASE,
        "observatory.config",
        "observatory.monitor",
        "observatory.storage",
        "observatory.server",
        "observatory.ingest",
        "observatory.client",
        "observatory.sinks",
        "observatory.engines",
        "observatory.notifying",
        "observatory.mirroring",
        "observatory.api",
    },
    "observatory.doctor": {*BASE, "observatory.config", "observatory.storage"},  # beside app: it knows parts, runs none
    "observatory.export": {*BASE, "observatory.storage"},  # beside app, too
    "observatory.cli": {
        *BASE,
        "observatory.reporting",
        "observatory.export",
        "observatory.notify",
        "observatory.notifying",
        "observatory.app",
        "observatory.doctor",
        "observatory.config",
        "observatory.client",
        "observatory.storage",
        "observatory.demo",
        "observatory.pricing",
        "observatory.sinks",
        "observatory.mirroring",
    },
}
ACTORS_MAY_IMPORT = {"trio", "attrs", "watchfiles", "inotify_simple", "actors"}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        if "node_modules" in path.parts:  # of the dashboard's build, not ours
            continue
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def owner(module: str) -> str | None:
    if module.split(".")[0] == "actors":
        return "actors"
    if module.split(".")[0] != "observatory":
        return None
    return ".".join(module.split(".")[:2])


EVERY = [*modules("observatory"), *modules("actors")]


@pytest.mark.parametrize(("module", "path"), EVERY, ids=[m for m, _ in EVERY])
def test_imports_only_fall(module: str, path: Path) -> None:
    mine = owner(module)
    assert mine is not None
    if mine == "observatory":  # the package's own __init__
        return
    theirs = {owner(name) for name in imports(path)} - {None, mine}
    assert theirs <= LAW[mine] | {"observatory"}, f"{module} imports upward or sideways: {theirs - LAW[mine]}"


@pytest.mark.parametrize(("module", "path"), list(modules("actors")), ids=[m for m, _ in modules("actors")])
def test_actors_know_no_domain(module: str, path: Path) -> None:
    foreign = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - ACTORS_MAY_IMPORT
    assert not foreign


def test_only_config_reads_the_environment() -> None:
    readers = {m for m, path in EVERY if "environ" in path.read_text() or "getenv" in path.read_text()}
    assert readers <= {"observatory.config"}


def test_package_inits_hold_a_docstring_only() -> None:
    for module, path in EVERY:
        if path.name == "__init__.py" and module != "observatory":
            assert len(ast.parse(path.read_text()).body) == 1, module


def test_importing_the_core_loads_no_runtime() -> None:
    names = [m for m, _ in EVERY if m.startswith("observatory.core")]
    code = f"import sys\nfor n in {names!r}: __import__(n)\nprint([m for m in {PURE_FORBIDS!r} if m in sys.modules])"
    plain = {
        key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")
    }  # measures with sqlite3
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True, env=plain)
    assert done.stdout.strip() == "[]"


def test_no_nursery_is_stored() -> None:
    for module, path in EVERY:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                assert "nursery" not in node.attr, f"{module}:{node.lineno} stores a nursery"
            if isinstance(node, ast.arg):
                assert "nursery" not in node.arg, f"{module}:{node.lineno} takes a nursery"
