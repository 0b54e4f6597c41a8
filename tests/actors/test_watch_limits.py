"""The kernel's real limits and real mounts, each in a child's own namespace: the part concerned is polled, and told."""

from pathlib import Path

import pytest

from tests.actors import watch_scenarios
from tests.actors.watch_ear import NAMES, has_own_namespace, run_in_own_namespace

pytestmark = pytest.mark.skipif(not has_own_namespace(), reason="needs namespaces of its own: unshare -Urm is denied")
WATCHING = ["inotify", "watchfiles"]


@pytest.mark.parametrize("backend", WATCHING)
async def test_directories_beyond_the_watch_limit_at_start_are_polled_until_it_is_raised(
    tmp_path: Path, backend: str
) -> None:
    await run_in_own_namespace(watch_scenarios.reach_the_limit_at_start, backend, str(tmp_path))


@pytest.mark.parametrize("backend", WATCHING)
async def test_directories_beyond_the_watch_limit_at_run_time_are_polled_until_it_is_raised(
    tmp_path: Path, backend: str
) -> None:
    await run_in_own_namespace(watch_scenarios.reach_the_limit_at_run_time, backend, str(tmp_path))


@pytest.mark.parametrize("backend", WATCHING)
async def test_without_instances_at_start_everything_is_polled_until_there_are(tmp_path: Path, backend: str) -> None:
    await run_in_own_namespace(watch_scenarios.have_no_instances_at_start, backend, str(tmp_path))


@pytest.mark.parametrize("backend", NAMES)
async def test_a_root_that_is_mounted_over_and_unmounted_is_heard(tmp_path: Path, backend: str) -> None:
    await run_in_own_namespace(watch_scenarios.mount_and_unmount_a_root, backend, str(tmp_path))


async def test_a_root_that_becomes_a_network_mount_is_polled(tmp_path: Path) -> None:
    (root := tmp_path / "root").mkdir()
    scenario = watch_scenarios.mount_something_deaf_over_a_root
    await run_in_own_namespace(scenario, "inotify", str(root), str(tmp_path / "table"))


async def test_a_write_into_a_lower_layer_is_heard_above_it(tmp_path: Path) -> None:
    await run_in_own_namespace(watch_scenarios.write_below_an_overlay, "inotify", str(tmp_path))
