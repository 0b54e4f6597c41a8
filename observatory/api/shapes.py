"""What answers hold: one class each, from which the OpenAPI document comes.

Times are RFC 3339 in UTC with ms. Every text that stems from a transcript is untrusted.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType


class Shape(msgspec.Struct, kw_only=True):
    """An answer, or a part of one."""


class Position(Shape):
    """A place in the log."""

    epoch: str
    seq: int


class Positioned(Shape):
    """Every answer tells a position: all events up to it are in what it says."""

    position: Position


class Component(Shape):
    """A part of the server that is or was not well."""

    component_name: str
    status: Literal["ok", "degraded", "unavailable"]
    details: str | None
    last_checked: str


class Hop(Shape):
    """One hop of the probe."""

    hop: str
    seconds: float


class Health(Positioned):
    """status: unavailable also when the probe is stuck, in the hop `stuck`."""

    status: Literal["ok", "degraded", "unavailable"]
    version: str
    probe: list[Hop]
    stuck: str | None


class Status(Positioned):
    """The server's state; docs/operations.md tells what is in it."""

    version: str
    uptime_seconds: float
    roots: list[str]
    data_dir: str
    log: dict[str, Any]
    clients: dict[str, int]
    client_list: list["Client"]
    gauges: dict[str, Any]
    counters: dict[str, Any]
    components: list[Component]
    latency: dict[str, dict[str, float]]
    watcher: dict[str, Any]
    import_: dict[str, Any] = msgspec.field(name="import")


class Client(Shape):
    """One WebSocket client. lag_events: how far it is behind the log; sent: events handed to it."""

    id: str
    address: str
    protocol: str | None
    state: Literal["live", "behind", "idle"]
    topics: list[str]
    filtered: bool
    connected_at: str
    sent: int
    lag_events: int
    outbox_frames: int
    outbox_bytes: int


class Closed(Shape):
    """A connection that is no more. code: of the close frame; 1006 without one."""

    id: str
    address: str
    code: int
    reason: str
    connected_at: str
    closed_at: str
    sent: int
    lag_events: int


class Clients(Positioned):
    """Who is connected, and the last thousand that were."""

    clients: list[Client]
    closed: list[Closed]


class Snapshot(Positioned):
    """Projects and conversations as the WebSocket's `get_snapshot` gives them; docs/protocol.md."""

    projects: list[dict[str, Any]]
    conversations: list[dict[str, Any]]
    truncated: bool


class Project(Shape):
    """A directory that conversations share."""

    id: str
    name: str
    path: str
    created_at: str
    updated_at: str
    last_activity: str
    conversation_count: int
    status: Literal["active", "inactive"]


class Projects(Positioned):
    """The one active last first."""

    projects: list[Project]


class OneProject(Positioned):
    """One project."""

    project: Project


class Tokens(Shape):
    """Totals."""

    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int


class Conversation(Shape):
    """A conversation, as in `conversation_started`, and what a person says of it."""

    id: str
    project_id: str
    session_id: str
    message_count: int
    file_path: str
    title: str | None
    status: Literal["active", "completed", "error"]
    activity: Literal["working", "waiting", "idle"]
    tool_usage_count: int
    tool_error_count: int
    created_at: str
    updated_at: str
    tokens: Tokens
    cwd: str | None
    git_branch: str | None
    last_prompt: str | None
    starred: bool
    tags: list[str]
    note: str
    agent_id: str | UnsetType = UNSET
    parent_id: str | UnsetType = UNSET
    model: str | UnsetType = UNSET


class Conversations(Positioned):
    """A page. total: of all pages; next: the cursor of the next one, null at the end."""

    conversations: list[Conversation]
    total: int
    next: str | None


class OneConversation(Positioned):
    """One conversation, with the ids of its own sub-agents."""

    conversation: Conversation
    agents: list[str]


class Agents(Positioned):
    """A conversation's own sub-agents, oldest first."""

    agents: list[Conversation]


class Record(Shape):
    """A record and its message, as in `message_added`; long strings may be cut: `record.truncated`. line: its order."""

    line: int
    record: dict[str, Any]
    message: dict[str, Any] | None


class Records(Positioned):
    """In the order of the files. more: there are others in the range, behind these, or before them with `last`.

    total: of the conversation; start: how many of these come before the range. Only if they are asked for.
    """

    records: list[Record]
    more: bool
    start: int | UnsetType = UNSET
    total: int | UnsetType = UNSET


class OneRecord(Positioned):
    """A record whole. raw: the line as it is kept. images: how many it holds."""

    conversation_id: str | None
    line: int
    record: dict[str, Any]
    message: dict[str, Any] | None
    raw: str
    images: int


class HookEvent(Shape):
    """What a hook told."""

    id: str
    hook_event_name: str
    session_id: str
    conversation_id: str
    project_id: str | None
    at: str
    payload: dict[str, Any]


class Hooks(Positioned):
    """In the order in which they came."""

    hooks: list[HookEvent]
    more: bool


class ToolCall(Shape):
    """A call of a tool. record, result_record: where it was made, and answered."""

    tool_use_id: str
    name: str
    record: str
    called_at: str | None
    status: str | None
    answered_at: str | None
    duration_ms: int | None
    result_record: str | None


class Calls(Positioned):
    """By their ids."""

    tool_calls: list[ToolCall]
    more: bool


class Output(Shape):
    """An output that was too big for a line. absent: why its text was not kept; null if it was."""

    name: str
    size: int
    absent: str | None


class Outputs(Positioned):
    """By their names."""

    attachments: list[Output]


class Hit(Shape):
    """A record that was found. marks: [from, to) in the snippet."""

    record: str
    conversation_id: str
    project_id: str
    project: str
    title: str | None
    timestamp: str | None
    line: int
    roles: list[str]
    tool: str | None
    is_error: bool
    snippet: str
    marks: list[list[int]]


class Found(Positioned):
    """A page of hits. is_exact: so is `total`. lag: records not in the index yet. stopped: `next` goes on."""

    hits: list[Hit]
    total: int
    is_exact: bool
    lag: int
    sort: Literal["relevance", "newest"]
    stopped: bool
    next: str | None


class Stats(Positioned):
    """Figures; docs/stats.md tells what each field is."""

    group: str
    timezone: str
    since: str | None
    until: str | None
    project_id: str | None
    prices: dict[str, Any] | None
    rows: list[dict[str, Any]]
    total: dict[str, Any]
    budget: dict[str, Any] | None


class Events(Positioned):
    """Events, as on the wire. position: up to where the log was looked through: `since` of the next request."""

    events: list[dict[str, Any]]
    head: int


class Done(Positioned):
    """It is done."""

    done: bool


class Annotation(Positioned):
    """What is said of it now."""

    starred: bool
    tags: list[str]
    note: str


class Forgotten(Positioned):
    """What went, or would go. scrubbed: its bytes have left the files; null in a dry run."""

    conversations: list[str]
    records: int
    bytes: int
    events: int
    dry_run: bool
    scrubbed: bool | None


class HookTaken(Positioned):
    """id: of the event. duplicate: it had come before, under the same Idempotency-Key."""

    id: str
    duplicate: bool


class Broadcast(Positioned):
    """seq: its place in the log. failed: clients that were found broken."""

    seq: int
    failed: list[str]


class ErrorText(Shape):
    """code: for programs; message: for people."""

    code: str
    message: str


class Error(Shape):
    """What every refusal holds."""

    error: ErrorText
