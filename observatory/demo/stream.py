"""The endless demo: several people at work at the same time, as one stream of lines to write."""

from collections.abc import Callable, Iterator
from heapq import merge
from itertools import count
from operator import attrgetter
from random import Random

import attrs

from observatory.core.identity import encode_slug
from observatory.demo.scenes import SCENES, build, explore, fix, fork, opening, turn_end
from observatory.demo.script import FOLLOW_UPS, PROJECTS, Project, Story
from observatory.demo.transcript import Json, Stamp, Step, Transcript, new_uuid, prompt

SEATS = 3  # people who work at the same time
SEAT_SECONDS = 4.0  # the next one begins so much later
BREAK_SECONDS = (8.0, 25.0)  # between two sessions of one person
TURNS = 3  # of a session
FORK_EVERY = 3  # sessions of one person
Scene = Callable[[Transcript, Project, Story], Iterator[Step]]
FIRST_SCENES: tuple[Scene, ...] = (fix, explore, build)  # what each begins with, so that a minute shows most of it


@attrs.frozen
class Write:
    """Append `data` to a file `delay` seconds after the write before; `path` lies below `projects/`."""

    delay: float
    path: str
    data: bytes


def stream(seed: int, stamp: Stamp) -> Iterator[Write]:
    """Everything that is written, for ever. The same seed gives the same content, but for the stamps.

    Args: stamp: seconds since the demo began → the timestamp of a line written then.
    """
    now = 0.0
    for step in merge(*(_seat(seed, number, stamp) for number in range(SEATS)), key=attrgetter("at")):
        yield Write(step.at - now, step.path, step.data)
        now = step.at


def _seat(seed: int, number: int, stamp: Stamp) -> Iterator[Step]:
    """One person: session after session, here and there."""
    rng = Random(f"{seed}/{number}")
    scenes = _bag(rng, number)
    at = number * SEAT_SECONDS
    for session in count():
        project = PROJECTS[number % len(PROJECTS)] if session == 0 else rng.choice(PROJECTS)
        session_id = new_uuid(rng)
        t = Transcript(_path(project, session_id), session_id, project.cwd, at, rng, stamp)
        yield from _session(t, project, rng.choice(project.stories), scenes, session % FORK_EVERY == FORK_EVERY - 1)
        at = t.at + rng.uniform(*BREAK_SECONDS)


def _session(t: Transcript, project: Project, story: Story, scenes: Iterator[Scene], forks: bool) -> Iterator[Step]:
    """One conversation from its first line to its last; some go on in a copy."""
    history: list[Json] = []
    for step in _turns(t, project, story, scenes):
        yield step
        if forks and step.path == t.path and step.line is not None and "uuid" in step.line:
            history.append(step.line)
    if forks:
        began, session_id = t.at, new_uuid(t.rng)
        yield from fork(t, story, history, session_id, _path(project, session_id))
        yield from fix(t, project, story)
        yield from turn_end(t, began)


def _turns(t: Transcript, project: Project, story: Story, scenes: Iterator[Scene]) -> Iterator[Step]:
    for turn in range(TURNS):
        began, scene = t.at, next(scenes)
        if turn == 0:
            yield from opening(t, project, story)
        else:
            yield from prompt(t, t.rng.uniform(4, 12), t.rng.choice(FOLLOW_UPS))
        yield from scene(t, project, story)
        if turn == 0 and scene is not fix:
            yield from fix(t, project, story)
        yield from turn_end(t, began)


def _path(project: Project, session_id: str) -> str:
    return f"{encode_slug(project.cwd)}/{session_id}.jsonl"


def _bag(rng: Random, number: int) -> Iterator[Scene]:
    """Every scene once, in any order, then again: nothing waits long for its turn."""
    first = FIRST_SCENES[number % len(FIRST_SCENES)]
    rest: list[Scene] = [scene for scene in SCENES if scene is not first]
    yield first
    while True:
        yield from rng.sample(rest, len(rest))
        rest = list(SCENES)
