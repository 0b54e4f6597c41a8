"""Kin: what a conversation tells of its sub-agents, into their rows, whichever file comes first."""

import attrs

from observatory.core import identity, particulars
from observatory.core.conversation import Conversation
from observatory.core.tasks import Agent
from observatory.ingest.ledger import Ledger


def settle(ledger: Ledger, before: Conversation | None, after: Conversation) -> list[str]:
    """A conversation's row was put: pass on what it tells of its agents, or take what its parent told of it.

    before: its row until now; None: it is new. Returns the conversations whose parent became known by this.
    """
    adopted: list[str] = []
    told = () if before is None else before.particulars.agents
    if after.particulars.agents is not told and after.particulars.agents != told:
        for agent in after.particulars.agents:
            if agent not in told and (child := _child(ledger, after, agent)) is not None:
                ledger.put_conversation(_described(child, agent, after.id))
                adopted += [child.id] if child.parent_id is None else []
    if after.agent_id is not None and after.parent_id is not None and after.particulars.agent_type is None:
        parent = ledger.conversation(after.parent_id)
        agents = () if parent is None else parent.particulars.agents
        for agent in agents:
            if agent.agent_id == after.agent_id:
                ledger.put_conversation(_described(after, agent, after.parent_id))
    return adopted


def inherited(folded: Conversation, known: Conversation) -> Conversation:
    """A row that was folded elsewhere, with what others told of it: see `settle`."""
    told = known.particulars
    if told.agent_type is None and told.agent_description is None and known.parent_id == folded.parent_id:
        return folded
    changes = {"agent_type": told.agent_type, "agent_description": told.agent_description}
    return attrs.evolve(folded, parent_id=known.parent_id, particulars=particulars.evolve(folded.particulars, changes))


def _child(ledger: Ledger, parent: Conversation, agent: Agent) -> Conversation | None:
    """An agent's conversation, if it is here: below this parent, or in a file that names no parent."""
    for text in (f"{parent.id}.{agent.agent_id}", f"{parent.session_id}.{agent.agent_id}", f"agent-{agent.agent_id}"):
        child = ledger.conversation(identity.clean_id(text))
        if child is not None and child.agent_id == agent.agent_id and child.parent_id in (None, parent.id):
            return child
    return None


def _described(child: Conversation, agent: Agent, parent_id: str) -> Conversation:
    told = {"agent_type": agent.agent_type, "agent_description": agent.description}
    return attrs.evolve(child, parent_id=parent_id, particulars=particulars.evolve(child.particulars, told))
