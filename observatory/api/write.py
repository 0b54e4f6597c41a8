"""Handlers: what changes something: logging in, stars and tags, forgetting, hook events, broadcasts."""

from observatory.api.asked import AnnotationBody, BroadcastBody, ForgetBody, HookBody, LoginBody
from observatory.api.sources import Sources
from observatory.api.table import Call, NoQuery, Refusal, Reply, not_found
from observatory.core.annotations import change_of
from observatory.core.errors import UsageError
from observatory.core.forgetting import Removal, Target
from observatory.core.hook_events import hook_id, hook_of
from observatory.storage.forget import preview

KEY = "idempotency-key"
BROADCAST_STATUS = {
    "not_a_dict": 400,
    "no_type": 400,
    "reserved_type": 422,
    "not_serialisable": 422,
    "too_big": 413,
    "not_persisted": 503,
}


async def login(api: Sources, call: Call[NoQuery, LoginBody]) -> Reply:
    """The token becomes a cookie, out of reach for scripts."""
    gate = call.caller.gate
    if gate.current() is None:
        raise Refusal(409, "NO_LOGIN", "this server asks for no token")
    cookie = gate.cookie_for(call.body.token, call.caller.theirs, call.head)
    if cookie is None:
        raise Refusal(401, "UNAUTHORIZED", "the token is not valid", (("WWW-Authenticate", "Bearer"),))
    return Reply({"done": True}, headers=(("Set-Cookie", cookie),))


async def logout(api: Sources, call: Call[NoQuery, None]) -> Reply:
    """The cookie goes."""
    return Reply({"done": True}, headers=(("Set-Cookie", call.caller.gate.no_cookie()),))


async def annotate(api: Sources, call: Call[NoQuery, AnnotationBody]) -> Reply:
    """Stars, tags and a note; who follows the conversation is told."""
    id, body = call.path["id"], call.body
    if await api.archive(lambda archive: archive.conversation(id)) is None:
        raise not_found("conversation")
    said = await api.monitor.annotate(change_of(id, body.starred, body.add, body.remove, body.note))
    return Reply(said.json())


async def forget(api: Sources, call: Call[NoQuery, ForgetBody]) -> Reply:
    """A conversation with its sub-agents, or a project, goes for good; or it is told what would."""
    body = call.body
    if (body.conversation is None) == (body.project is None):
        raise UsageError("name a conversation or a project, and not both")
    target = Target("project", body.project or "")
    if body.conversation is not None:
        target = Target("conversation", body.conversation)
    directory = api.monitor.data_dir
    removal = await api.in_thread(lambda: preview(directory, target))
    if removal.empty:
        raise not_found(target.kind)
    if body.dry_run:
        return Reply(_removal(removal, dry_run=True, scrubbed=None))
    removal, scrubbed = await api.monitor.forget_wholly(target)
    return Reply(_removal(removal, dry_run=False, scrubbed=scrubbed))


def _removal(removal: Removal, *, dry_run: bool, scrubbed: bool | None) -> dict[str, object]:
    return {
        "conversations": [row.id for row in removal.conversations],
        "records": removal.records,
        "bytes": removal.record_bytes,
        "events": len(removal.seqs),
        "dry_run": dry_run,
        "scrubbed": scrubbed,
    }


async def hook(api: Sources, call: Call[NoQuery, HookBody]) -> Reply:
    """What a hook of Claude Code, or a script, tells of a session."""
    number, duplicate = await api.monitor.hook(hook_of(call.raw, call.head.headers.get(KEY)))
    return Reply({"id": hook_id(number), "duplicate": duplicate}, 200 if duplicate else 201)


async def broadcast(api: Sources, call: Call[NoQuery, BroadcastBody]) -> Reply:
    """A message of yours, as an event of the log, to all clients that its filter means."""
    body = call.body
    try:
        sent = await api.manager.broadcast({"type": body.type, "data": body.data}, body.filter)
    except ValueError as error:
        raise Refusal(422, "INVALID_TOPIC", str(error)) from None
    if sent.error is not None:
        raise Refusal(BROADCAST_STATUS[sent.error], sent.error.upper(), sent.reason)
    assert sent.seq is not None, "it was stored"
    return Reply({"seq": sent.seq, "failed": list(sent)}, 201)
