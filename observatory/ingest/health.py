"""Health of the parts, told on change."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from observatory.core.contracts import Status, worst
from observatory.core.replies import rfc3339


@attrs.frozen
class Component:
    """One part's health; the time is when it changed."""

    status: Status
    details: str | None
    last_checked: str


@attrs.define
class Health:
    """What was never anything but well is not listed."""

    wall_ms: Callable[[], int]
    news: bool = False
    _components: dict[str, Component] = attrs.field(factory=dict)

    def set(self, name: str, status: Status, details: str | None) -> None:
        """A part's health now."""
        known = self._components.get(name)
        if known is None and status == "ok":
            return
        if known is None or (known.status, known.details) != (status, details):
            self._components[name] = Component(status, details, rfc3339(self.wall_ms()))
            self.news = True

    def set_files(self, unreadable: Mapping[str, str]) -> None:
        """The health of the transcripts. unreadable: path → reason."""
        shown = [f"{path}: {reason}" for path, reason in list(unreadable.items())[:3]]
        details = f"{len(unreadable)} unreadable: {'; '.join(shown)}" if shown else None
        self.set("files", "degraded" if unreadable else "ok", details)

    def components(self) -> list[dict[str, Any]]:
        """All parts, as in system_status."""
        return [{"component_name": name, **attrs.asdict(part)} for name, part in sorted(self._components.items())]

    def tell(self) -> dict[str, Any]:
        """`data` of a system_status; there is no news after it."""
        self.news = False
        status = worst(part.status for part in self._components.values())
        return {"service_status": status, "components": self.components(), "checked_at": rfc3339(self.wall_ms())}
