"""Rows that are kept as JSON, as values.

The decoders are made here, once, before there are threads: two threads that make the first one of a type at the same
time end the process (msgspec 0.22 builds what it knows of a type in place).
"""

import msgspec

from observatory.core.conversation import Conversation
from observatory.core.project import Project

conversation_of = msgspec.json.Decoder(Conversation).decode
project_of = msgspec.json.Decoder(Project).decode
