"""What requests carry, in the query of a URL or in a body: one class each, which checks it and describes it."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Id = Annotated[str, Meta(pattern="^[!-~]{1,200}$")]
RecordId = Annotated[str, Meta(pattern="^[0-9]{1,7}-[0-9]{1,2}-[0-9]{1,12}$", examples=["12-0-48211"])]
Cursor = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,600}$", description="`next` of the page before")]
Day = Annotated[str, Meta(pattern="^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$", examples=["2026-11-24"])]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Since = Annotated[
    str,
    Meta(
        pattern="^([A-Za-z0-9_-]{6,32}:)?[0-9]{1,15}$",
        description="A position, `epoch:seq`, or a seq of the present epoch. Events after it are given.",
        examples=["k3x9q2:120345"],
    ),
]


class Asked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is asked for: the query of a URL, or the body of a request. Unknown names are refused."""


class SnapshotQuery(Asked):
    """limit: conversations, the ones active last."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class ConversationsQuery(Asked):
    """tag: may be repeated, then all are meant. text: in the title or the last prompt."""

    project: Id | None = None
    status: Literal["active", "completed", "error"] | None = None
    activity: Literal["working", "waiting", "idle"] | None = None
    parent: Id | None = None
    agents: bool = False
    starred: bool | None = None
    tag: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=32)] = []
    text: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    since: Day | None = None
    sort: Literal["updated_at", "created_at", "message_count", "tokens"] = "updated_at"
    order: Literal["desc", "asc"] = "desc"
    limit: Limit = 100
    cursor: Cursor | None = None


class RecordsQuery(Asked):
    """after, before: records, not included. last: the last ones of the range instead of the first.

    skip: so many come before the range; at: a record in the middle of it. Both without the others. count: tell how many
    there are in all, and before the range; with skip and at it is told anyway.
    """

    after: RecordId | None = None
    before: RecordId | None = None
    last: bool = False
    skip: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None
    at: RecordId | None = None
    count: bool = False
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class HooksQuery(Asked):
    """after: the number in the id of the last one of the page before."""

    after: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0
    limit: Limit = 100


class CallsQuery(Asked):
    """after: the last call of the page before."""

    after: Annotated[str, Meta(max_length=200)] = ""
    limit: Limit = 200


class SearchQuery(Asked):
    """q: as for `observatory search`; docs/search.md. until: that day, too. role: may be repeated."""

    q: Annotated[str, Meta(min_length=1, max_length=1000)]
    exact: bool = False
    case: bool = False
    project: Id | None = None
    conversation: Id | None = None
    role: list[Literal["user", "assistant", "thinking", "tool_use", "tool_result", "other"]] = []
    tool: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    since: Day | None = None
    until: Day | None = None
    errors: bool = False
    sort: Literal["relevance", "newest"] = "relevance"
    limit: Annotated[int, Meta(ge=1, le=200)] = 20
    cursor: Cursor | None = None


class StatsQuery(Asked):
    """until: that day, too. timezone: in which days begin; the server's if none is named. budget: USD for a period."""

    group: Literal["day", "week", "month", "project", "model", "branch", "conversation", "tool", "block"] = "day"
    since: Day | None = None
    until: Day | None = None
    project: Id | None = None
    timezone: Annotated[str, Meta(pattern="^[A-Za-z0-9_+/-]{1,64}$")] | None = None
    budget: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    format: Literal["json", "csv"] = "json"


class ExportQuery(Asked):
    """agents: with the stories of sub-agents, where the format has room for them. redact: keys and tokens replaced."""

    format: Literal["jsonl", "markdown", "html"] = "jsonl"
    agents: bool = True
    redact: bool = False


class EventsQuery(Asked):
    """topic: may be repeated; without one all events are meant. where: a filter as JSON (docs/protocol.md).

    follow: go on when the head is reached. wait: seconds that an answer may wait for a first event. limit: its events.
    """

    since: Since | None = None
    topic: Annotated[list[Annotated[str, Meta(min_length=1, max_length=220)]], Meta(max_length=128)] = []
    where: Annotated[str, Meta(min_length=1, max_length=16384)] | None = None
    follow: bool = False
    wait: Annotated[float, Meta(ge=0, le=60)] = 0.0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 500


class LoginBody(Asked):
    """The server's token."""

    token: Annotated[str, Meta(min_length=1, max_length=512)]


class AnnotationBody(Asked):
    """What is to be said of the conversation from now on; what is absent stays as it is."""

    starred: bool | None = None
    add: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=32)] = []
    remove: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=32)] = []
    note: Annotated[str, Meta(max_length=4096)] | None = None


class ForgetBody(Asked):
    """One of the two. dry_run: only tell what would go."""

    conversation: Id | None = None
    project: Id | None = None
    dry_run: bool = True


class HookBody(msgspec.Struct, kw_only=True):
    """What Claude Code gives its hooks, or a script of yours tells; further fields are kept as they are."""

    hook_event_name: Annotated[str, Meta(min_length=1, max_length=100)]
    session_id: Id
    cwd: str | None = None
    transcript_path: str | None = None


class BroadcastBody(Asked):
    """A message for clients, as `ConnectionManager.broadcast` takes it. filter: who gets it; null is everybody."""

    type: Annotated[str, Meta(min_length=1, max_length=200)]
    data: Any = {}
    filter: Annotated[str, Meta(min_length=1, max_length=220)] | None = None


class LogoutBody(Asked):
    """Nothing."""


class PageQuery(msgspec.Struct):
    """Whatever it is: the page's own script reads it."""
