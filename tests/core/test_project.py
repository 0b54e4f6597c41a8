"""Projects on the wire."""

import attrs
import pytest

from observatory.core.project import Project, name_of, resolve, update

T = "2026-11-22T21:00:00.000Z"
ONE = Project("p1", "w", "/w", "-w", True, T, T, T, 7)


def test_a_first_sight_carries_everything() -> None:
    assert update(None, ONE) == {
        "id": "p1",
        "name": "w",
        "path": "/w",
        "created_at": T,
        "updated_at": T,
        "last_activity": T,
        "conversation_count": 7,
        "status": "active",
    }


@pytest.mark.parametrize(
    ("change", "extra"),
    [
        ({"conversation_count": 8}, {"conversation_count": 8}),
        ({"status": "inactive"}, {"status": "inactive"}),
        ({"last_activity": "2026-11-22T21:00:01.000Z"}, {}),
        ({"name": "x"}, {}),
    ],
)
def test_an_update_carries_the_optional_keys_that_changed(change: dict[str, object], extra: dict[str, object]) -> None:
    new = attrs.evolve(ONE, **change)  # type: ignore[arg-type]
    found = update(ONE, new)
    assert found is not None
    assert {key: found[key] for key in found.keys() & {"conversation_count", "status"}} == extra
    assert {"id", "name", "path", "created_at", "updated_at", "last_activity"} <= found.keys()


def test_what_no_client_sees_is_no_update() -> None:
    assert update(ONE, ONE) is None
    assert update(ONE, attrs.evolve(ONE, slug="-x", resolved=False)) is None


def test_an_unresolved_project_keeps_its_id_when_its_directory_turns_up() -> None:
    slug_only = Project("p2", "-home-u-app", "-home-u-app", "-home-u-app", False, T, T, T)
    found = resolve(slug_only, "/home/u/app/")
    assert (found.id, found.name, found.path, found.resolved) == ("p2", "app", "/home/u/app/", True)


@pytest.mark.parametrize(
    ("path", "name"), [("/w/app", "app"), ("/w/app/", "app"), ("C:\\w\\app", "app"), ("/", "/"), ("-slug", "-slug")]
)
def test_a_project_is_named_after_its_directory(path: str, name: str) -> None:
    assert name_of(path) == name
