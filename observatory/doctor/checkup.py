"""All checks: facts are collected here and judged in the core, in the order in which a person would ask."""

import os
import platform
import resource
import sqlite3
import time
from pathlib import Path

import attrs

from actors.watch_mounts import Mount, find_kind, is_deaf_kind, parse_mounts
from observatory import __version__
from observatory.config import Config, Origins
from observatory.core.check_files import (
    FileSystem,
    RootFacts,
    judge_file_systems,
    judge_roots,
    judge_times,
)
from observatory.core.check_host import (
    ConfigFacts,
    ServerFacts,
    judge_config,
    judge_descriptors,
    judge_inotify,
    judge_port,
    judge_server,
    judge_versions,
)
from observatory.core.check_store import judge_store
from observatory.core.finding import Finding
from observatory.doctor import host
from observatory.doctor.store import store
from observatory.doctor.walk import existing, walk

MOUNTS = Path("/proc/self/mountinfo")


@attrs.frozen
class Circumstances:
    """What the command knows and the checks cannot find out. server: it was asked already."""

    config: Config
    origins: Origins
    config_error: str | None
    server: ServerFacts | None
    fd_reserve: int
    boot_id: str | None
    deep: bool


def check(around: Circumstances) -> list[Finding]:
    """Every finding, in order. Blocks: it looks through the roots."""
    config, server = around.config, around.server
    roots = tuple(walk(root, time.time())[0] for root in config.roots)
    mounts = _mounts()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    inotify = host.inotify(server.pid if server else None)
    system = f"{platform.system()} {platform.release()}"
    return [
        *judge_versions(platform.python_version(), sqlite3.sqlite_version_info, system, __version__),
        *judge_config(_config_facts(around)),
        *judge_roots(roots),
        *judge_inotify(inotify, sum(root.watches for root in roots), server is not None),
        *judge_file_systems(
            tuple(_file_system(root.path, mounts) for root in roots if _usable(root)),
            _file_system(str(config.data_dir), mounts),
        ),
        *judge_store(store(config.data_dir, around.boot_id, deep=around.deep), server is not None),
        *judge_server(server, __version__),
        *judge_port(host.port(config.host, config.port, server.url if server else None), server is not None),
        *judge_descriptors(hard, around.fd_reserve, config.max_clients),
        *judge_times(time.time(), roots),
    ]


def _usable(root: RootFacts) -> bool:
    return root.exists and root.error is None


def _config_facts(around: Circumstances) -> ConfigFacts:
    origins = around.origins
    given = tuple(sorted(origins.given.items()))
    return ConfigFacts(
        str(origins.file), origins.exists, given, origins.unknown, origins.claude_config_dir,
        "roots" in origins.given, around.config_error,
    )  # fmt: skip


def _mounts() -> list[Mount]:
    try:
        return parse_mounts(MOUNTS.read_text(errors="surrogateescape"))
    except OSError:
        return []


def _file_system(path: str, mounts: list[Mount]) -> FileSystem:
    place = existing(Path(path))
    kind = find_kind(os.path.realpath(place), os.stat(place).st_dev, mounts)
    return FileSystem(path, kind, kind is not None and is_deaf_kind(kind))
