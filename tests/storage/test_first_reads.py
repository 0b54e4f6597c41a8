"""The first reads of a process may be several threads' at once: a browser asks for much in one breath."""

import subprocess
import sys

PROGRAM = """
import sys, threading
import msgspec
from observatory.core.conversation import Conversation
from observatory.core.project import Project
from observatory.storage import decoding

row = Conversation(id="c", project_id="p", session_id="s", file_path="/f", created_at="t", updated_at="t")
text, barrier = msgspec.json.encode(row), threading.Barrier(8)
sys.setswitchinterval(1e-6)

def read():
    barrier.wait()
    assert decoding.conversation_of(text) == row

threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_several_threads_read_their_first_row_at_once() -> None:
    for _ in range(10):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
