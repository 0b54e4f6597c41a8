"""What parts say of their health, kept for a look."""

from typing import Any

import attrs

from observatory.core.contracts import Status


@attrs.define(eq=False)
class Reports:
    """Called like a monitor's `report`; `components` is what its status would say."""

    parts: dict[str, tuple[Status, str | None]] = attrs.field(factory=dict)

    async def __call__(self, component: str, status: Status, details: str | None) -> None:
        self.parts[component] = status, details

    def components(self) -> list[dict[str, Any]]:
        return [
            {"component_name": name, "status": status, "details": details}
            for name, (status, details) in self.parts.items()
        ]
