"""Which user lines a person typed: the one place that lists the texts Claude Code writes in the user's name.

Source: transcripts.md §9.
"""

from typing import Literal

Shape = Literal["prompt", "command", "interruption", "note"]

COMMAND = ("<command-name>", "<command-message>")
INTERRUPTION = ("[Request interrupted",)
INJECTED = (
    "<local-command-",
    "<bash-input>",
    "<bash-stdout>",
    "<task-notification>",
    "<system-reminder>",
    "<ide_",
    "Stop hook feedback:",
    "This session is being continued",
    "Caveat:",
)
LOCAL_OUTPUT = ("<local-command-stdout>", "<local-command-stderr>")  # a local command has been answered: no turn begins

# `origin.kind` and `promptSource` beat the test by text. Values that are not listed decide nothing (§12.14).
HUMAN_ORIGINS = frozenset({"human"})
MACHINE_ORIGINS = frozenset(
    {"task-notification", "coordinator", "peer", "auto-continuation", "observer", "observer-activity"}
)
HUMAN_SOURCES = frozenset({"typed", "queued", "user", "sdk"})
MACHINE_SOURCES = frozenset({"system"})


def shape(text: str, origin: object = None, source: object = None) -> Shape:
    """What a user's text is. A command stays a command whoever sent it.

    Args: text: the plain text. origin, source: `origin.kind` and `promptSource` as found, of any type.
    """
    start = text.lstrip()
    if not start:
        return "note"
    if start.startswith(COMMAND):
        return "command"
    for value, human, machine in (
        (origin, HUMAN_ORIGINS, MACHINE_ORIGINS),
        (source, HUMAN_SOURCES, MACHINE_SOURCES),
    ):
        if isinstance(value, str) and value in human | machine:
            return "prompt" if value in human else "note"
    if start.startswith(INTERRUPTION):
        return "interruption"
    return "note" if start.startswith(INJECTED) else "prompt"


def command_line(text: str) -> str:
    """How a command is shown: `/name args`."""
    name = _between(text, "<command-name>", "</command-name>") or _between(
        text, "<command-message>", "</command-message>"
    )
    args = _between(text, "<command-args>", "</command-args>")
    name = name if name.startswith("/") else f"/{name}"
    return f"{name} {args}".strip()


def _between(text: str, opening: str, closing: str) -> str:
    start = text.find(opening)
    if start < 0:
        return ""
    end = text.find(closing, start)
    return text[start + len(opening) : end if end >= 0 else None].strip()
