"""A conversation from the archive as a story: its entries in order, each sub-agent behind the call that started it."""

from collections.abc import Iterator

import attrs

from observatory.core.conversation import Conversation
from observatory.core.lines import Line
from observatory.core.timeline import Answer, Called, Entry, entries
from observatory.core.transcript import parse
from observatory.storage.conversations import ConversationReader


@attrs.frozen
class Agent:
    """A sub-agent's own story comes here."""

    conversation: Conversation


def story(reader: ConversationReader, id: str) -> Iterator[Entry | Agent]:
    """What a conversation says. Sub-agents that no call is known of come at the end. Raises StoreError."""
    agents = {agent: agent.removeprefix(f"{id}.") for agent in reader.agents(id)}
    waiting = {short: agent for agent, short in agents.items()}

    def answer_of(call: str) -> Answer | None:
        return reader.answer(id, call)

    for stored in reader.records(id):
        for value in parse(Line(0, stored.length, stored.body)):
            for entry in entries(stored.id, value, answer_of):
                yield entry
                yield from _called(reader, entry, waiting)
    for agent in waiting.values():
        yield from _agent(reader, agent)


def _called(reader: ConversationReader, entry: Entry, waiting: dict[str, str]) -> Iterator[Agent]:
    if isinstance(entry, Called) and entry.answer is not None and entry.answer.agent in waiting:
        yield from _agent(reader, waiting.pop(entry.answer.agent))


def _agent(reader: ConversationReader, id: str) -> Iterator[Agent]:
    row = reader.conversation(id)
    if row is not None:
        yield Agent(row)
