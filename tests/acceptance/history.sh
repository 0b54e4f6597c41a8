#!/usr/bin/env bash
# The whole history: imported by the command, exact to the last token and byte, in any order, after kills, beside a server.
# It uses the checkout's .venv. Everything it makes is in one temporary directory, which is gone at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

WHAT='the whole history'
# shellcheck source=tests/acceptance/common.sh
. tests/acceptance/common.sh
SAMPLES=${OBSERVATORY_SAMPLES:-$PWD/../shared/transcripts}
mkdir "$WORK/home"
if [ ! -d "$SAMPLES/projects" ]; then
    if [ "${CI:-}" = true ]; then
        fail "there are no sample transcripts at $SAMPLES"
    fi
    printf 'SKIP: no sample transcripts at %s\n' "$SAMPLES"
    exit 0
fi
cp -r "$SAMPLES/projects" "$WORK/home/projects"
chmod -R u+w "$WORK/home/projects"
find "$WORK/home/projects" -type f -exec touch -d 2026-01-01 {} +  # at rest: last lines may lack their newline for good

# A mistake is one line.
if observatory import --root "$WORK/no-such-place" >"$WORK/import.out" 2>&1; then
    fail 'a root that is not there is refused' "$WORK/import.out"
elif [ $? -ne 2 ]; then
    fail 'a root that is not there ends with 2' "$WORK/import.out"
fi
check 'a root that is not there is named' "$WORK/import.out" 'there is no directory'

# All of it, and only once.
observatory import --root "$WORK/home" >"$WORK/import.out" 2>"$WORK/import.err" ||
    fail 'import' "$WORK/import.out" "$WORK/import.err"
cat "$WORK/import.out"
check 'all conversations and lines are in' "$WORK/import.out" 'imported 35 conversations, 3,503 records'
check 'lines that are no records are counted' "$WORK/import.out" '3 error lines'
observatory import --root "$WORK/home" >"$WORK/import.out" 2>&1 || fail 'import again' "$WORK/import.out"
check 'the second time there is nothing to import' "$WORK/import.out" 'nothing to import'

account() { observatory doctor --account --root "$WORK/home" >"$WORK/account.out" 2>&1; }
account || fail 'every byte is accounted for' "$WORK/account.out"
cat "$WORK/account.out"
pass 'every byte is accounted for'

# Beside a server, which watches another place: it does the import, and the command shows how far it is.
mkdir -p "$WORK/watched/projects" "$WORK/other/projects/-w"
printf '{"type":"user","uuid":"u1","sessionId":"other","cwd":"/w","timestamp":"2026-01-01T00:00:00.000Z",%s\n' \
    '"message":{"role":"user","content":"from another machine"}}' >"$WORK/other/projects/-w/other.jsonl"
"${AS_NEW_USER[@]}" .venv/bin/observatory serve --root "$WORK/watched" >"$WORK/server.out" 2>"$WORK/server.log" &
SERVER=$!
wait_until 'serve says where it listens' is_ready
observatory import --root "$WORK/other" >"$WORK/import.out" 2>&1 || fail 'import beside a server' "$WORK/import.out"
check 'the server imports for the command' "$WORK/import.out" 'imported 1 conversation, 1 record'
check 'the server tells of it in its log' "$WORK/server.log" '"event":"import.finished"'
observatory status --json >"$WORK/status.out" 2>"$WORK/status.err" || fail 'status' "$WORK/status.err"
check 'the status has it' "$WORK/status.out" '"files_total": 1'
observatory ls sessions --json >"$WORK/ls.out" || fail 'ls sessions' "$WORK/ls.out"
check 'it is listed' "$WORK/ls.out" '"id":"other"'
kill -TERM "$SERVER"
wait "$SERVER" || fail 'SIGTERM ends it with exit code 0' "$WORK/server.log"
SERVER=''

# In any order, at once, byte by byte, after kills: the same tables.
if timeout 300 .venv/bin/python -m pytest -q tests/ingest/test_orders.py >"$WORK/orders.out" 2>&1; then
    pass 'in three shuffled orders, at once and byte by byte the tables are identical'
else
    fail 'the order of files matters' "$WORK/orders.out"
fi
smoke tests.bench.import --live --kill 5

# The token totals, each message counted once, at its largest.
observatory stats --json >"$WORK/stats.out" 2>&1 || fail 'stats' "$WORK/stats.out"
for total in '"input_tokens": *3783\b' '"output_tokens": *129720\b' '"cache_creation_input_tokens": *3479833\b' \
    '"cache_read_input_tokens": *90043447\b'; do
    grep -qE -- "$total" "$WORK/stats.out" || fail "stats: no $total" "$WORK/stats.out"
done
pass 'the token totals are exact'
printf 'PASS: the whole history\n'
