#!/usr/bin/env bash
# Every source: the demo without transcripts, real transcripts accounted for to the last byte, doctor, ls, names for tail.
# It uses the checkout's .venv. Everything it makes is in one temporary directory, which is gone at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

WHAT='every source'
# shellcheck source=tests/acceptance/common.sh
. tests/acceptance/common.sh
SAMPLES=${OBSERVATORY_SAMPLES:-$PWD/../shared/transcripts}
mkdir "$WORK/home" "$WORK/tmp"

# A person without transcripts: one command, which shows what happens, and leaves nothing.
"${AS_NEW_USER[@]}" TMPDIR="$WORK/tmp" .venv/bin/observatory demo --speed 50 >"$WORK/demo.out" 2>"$WORK/demo.err" &
SERVER=$!
demo_shows_lines() { [ "$(grep -c 'demo-' "$WORK/demo.out")" -ge 20 ]; }
wait_until 'the demo shows what happens' demo_shows_lines
kill -INT "$SERVER"
if wait "$SERVER"; then
    pass 'Ctrl-C ends the demo with exit code 0'
else
    fail "the demo ended with exit code $?" "$WORK/demo.out" "$WORK/demo.err"
fi
SERVER=''
if [ -n "$(ls -A "$WORK/tmp" "$WORK/home" | grep -v ':$' || true)" ]; then
    fail 'the demo leaves nothing behind'
fi
pass 'the demo leaves nothing behind'

# Something not right: doctor says what, on a set-up that has nothing yet.
observatory doctor --port 28765 >"$WORK/doctor.out" 2>&1 || fail 'doctor on a new set-up' "$WORK/doctor.out"
check 'doctor looks at the watches' "$WORK/doctor.out" 'watches'
if [ -e "$WORK/data" ]; then
    fail 'doctor makes nothing'
fi
pass 'doctor makes nothing'
if observatory doctor --account >"$WORK/doctor.out" 2>&1; then
    fail 'an account without a log ends with 1' "$WORK/doctor.out"
fi
pass 'an account without a log says so and ends with 1'

# Real transcripts, as they lie in a Claude home.
if [ ! -d "$SAMPLES/projects" ]; then
    if [ "${CI:-}" = true ]; then
        fail "there are no sample transcripts at $SAMPLES"
    fi
    printf 'SKIP: no sample transcripts at %s\n' "$SAMPLES"
    exit 0
fi
cp -r "$SAMPLES/projects" "$WORK/home/projects"
chmod -R u+w "$WORK/home/projects"
"${AS_NEW_USER[@]}" .venv/bin/observatory serve --root "$WORK/home" >"$WORK/server.out" 2>"$WORK/server.log" &
SERVER=$!
wait_until 'serve says where it listens' is_ready
history_is_read() {
    observatory status --json 2>"$WORK/status.err" >"$WORK/status.out" &&
        grep -q '"history_waiting": 0' "$WORK/status.out" && grep -q '"sources": 35' "$WORK/status.out"
}
wait_until 'the 35 sample files are read' history_is_read

account() { observatory doctor --account --root "$WORK/home" >"$WORK/account.out" 2>&1; }
account || fail 'every byte of the samples is accounted for' "$WORK/account.out"
cat "$WORK/account.out"
pass 'every byte of the samples is accounted for, beside the server'

observatory ls projects >"$WORK/ls.out" || fail 'ls projects' "$WORK/ls.out"
check 'ls knows the projects' "$WORK/ls.out" 'ai-music'
observatory ls sessions --json >"$WORK/ls.out" || fail 'ls sessions' "$WORK/ls.out"
check 'ls knows the sessions' "$WORK/ls.out" 'ba79134d-b6e9-4867-af0c-6941038c9e4b'

FILE=$(find "$WORK/home/projects" -name 'ba79134d-*.jsonl')
observatory tail ba79134d -n 1 >"$WORK/live.out" 2>&1 &
TAIL=$!
wait_until 'tail takes the beginning of an id' one_client_is_live
printf '{"type":"custom-title","customTitle":"A new name","sessionId":"ba79134d-b6e9-4867-af0c-6941038c9e4b"}\n' >>"$FILE"
wait "$TAIL" || fail 'tail -n 1 ends after one event' "$WORK/live.out" "$WORK/server.log"
check 'tail shows what was appended' "$WORK/live.out" 'A new name'
if observatory tail no-such-project >"$WORK/live.out" 2>&1; then
    fail 'an unknown name ends with 2' "$WORK/live.out"
fi
pass 'an unknown name is told in one line'

kill -TERM "$SERVER"
wait "$SERVER" || fail 'SIGTERM ends it with exit code 0' "$WORK/server.log"
SERVER=''
account || fail 'the account is clean at rest' "$WORK/account.out"
pass 'the account is clean at rest'
# One letter in the middle of a file: nothing that a watcher compares tells of it.
python3 - "$FILE" <<'PY'
import os, sys
path = sys.argv[1]
before = os.stat(path)
with open(path, "r+b") as file:
    content = file.read()
    at = content.index(b'"assistant"', len(content) // 2)
    file.seek(at + 1)
    file.write(b"A")
os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
PY
if account; then
    fail 'an edit in the middle of a file is found' "$WORK/account.out"
fi
check 'an edit in the middle of a file is found' "$WORK/account.out" 'differs from what was read'

smoke tests.bench.hostile
smoke tests.bench.longline
smoke tests.bench.restart
printf 'PASS: every source\n'
