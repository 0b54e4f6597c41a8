"""A step: what is gone when it is sent must not come after its delete."""

import pytest

from observatory.sinks.step import Delete, Step

ROWS = [
    {"machine_id": "m", "source_id": source, "generation": 1, "byte_offset": at} for source in (1, 2) for at in (0, 9)
]


@pytest.mark.parametrize(
    ("delete", "left"),
    [
        (Delete("messages", {"machine_id": "m", "source_id": 1}), [2, 3]),
        (Delete("messages", {"machine_id": "m", "source_id": 1, "byte_offset": 9}), [0, 2, 3]),
        (Delete("messages", {"source_id": 2}, below=("position", (1 << 37) + 9)), [0, 1, 3]),
        (Delete("messages", {"machine_id": "m"}, above=("source_id", 1)), [0, 1]),
        (Delete("messages", {"machine_id": "other"}), [0, 1, 2, 3]),
        (Delete("projects", {"machine_id": "m"}), [0, 1, 2, 3]),
    ],
)
def test_a_delete_takes_what_was_put_before_it(delete: Delete, left: list[int]) -> None:
    step = Step()
    for number, row in enumerate(ROWS):
        step.put("messages", str(number), row)
    step.remove(delete)
    assert [int(ref) for _, (_, ref), _ in step.flat()] == left
    assert step.deletes == [delete]
    step.put("messages", "0", ROWS[0])
    assert "0" in [ref for _, (_, ref), _ in step.flat()], "what comes after it stays"
