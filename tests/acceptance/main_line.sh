#!/usr/bin/env bash
# What a new user does: clone, run the README's first command, see a line arrive. Then benches in smoke size and trace.
# It clones what is committed. Everything it makes is in one temporary directory, which is gone at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

RUN_COMMAND=$(grep -E '^python3 -m venv .*observatory serve$' README.md)
SET_UP=${RUN_COMMAND% && *}
SERVE=${RUN_COMMAND##* && }
WHAT='the main line'
# shellcheck source=tests/acceptance/common.sh
. tests/acceptance/common.sh
CLONE=$WORK/clone

# line NUMBER TEXT: a prompt as Claude Code writes it.
line() {
    printf '{"parentUuid":null,"isSidechain":false,"type":"user","cwd":"/home/ada/shop","sessionId":"%s","uuid":"u-%s",' \
        "$SESSION" "$1"
    printf '"timestamp":"%s","message":{"role":"user","content":"%s"}}\n' "$(date -u +%Y-%m-%dT%H:%M:%S.000Z)" "$2"
}

git clone -q "$PWD" "$CLONE"
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
    printf 'note: uncommitted changes are not part of this run\n'
fi
cd "$CLONE"
mkdir "$WORK/home"

eval "$SET_UP"
pass 'the README sets it up in a fresh clone'

# shellcheck disable=SC2086 # a command of several words
"${AS_NEW_USER[@]}" $SERVE >"$WORK/server.out" 2>"$WORK/server.log" &
SERVER=$!
wait_until 'serve says where it listens' is_ready
check 'it says what is not there yet' "$WORK/server.out" 'nothing to watch yet'

SESSION=6f1d2c3e-0b1a-4c5d-8e9f-001122334455
FOLDER=$WORK/home/.claude/projects/-home-ada-shop
mkdir -p "$FOLDER"
line 1 'Is anybody there?' >>"$FOLDER/$SESSION.jsonl"
observatory tail --since 0 -n 2 >"$WORK/tail.out" 2>&1 || fail 'tail --since 0' "$WORK/tail.out" "$WORK/server.log"
check 'a root that appears later is watched, and tail reads from the log' "$WORK/tail.out" 'user Is anybody there?'

observatory tail -n 1 >"$WORK/live.out" 2>&1 &
TAIL=$!
wait_until 'tail is connected' one_client_is_live
line 2 'And now live.' >>"$FOLDER/$SESSION.jsonl"
wait "$TAIL" || fail 'tail -n 1 ends after one event' "$WORK/live.out" "$WORK/server.log"
check 'tail prints a line that is appended' "$WORK/live.out" 'user And now live.'

observatory status >"$WORK/status.out" || fail 'status' "$WORK/server.log"
check 'status knows the file' "$WORK/status.out" '1 known'
check 'status shows the data directory' "$WORK/status.out" "$WORK/data"

kill -TERM "$SERVER"
if wait "$SERVER"; then
    pass 'SIGTERM ends it with exit code 0'
else
    fail "SIGTERM ended it with exit code $?" "$WORK/server.log"
fi
SERVER=''
if grep -q '"level":"error"' "$WORK/server.log"; then
    fail 'the log has no errors' "$WORK/server.log"
fi
pass 'the log has no errors'

.venv/bin/observatory trace "$WORK/server.log" >"$WORK/trace.out"
cat "$WORK/trace.out"
for row in 'hop ' 'p50 ms' 'p99 ms' 'max ms' detected_to_read read_to_committed committed_to_routed routed_to_written \
    detected_to_written; do
    check "trace shows $row" "$WORK/trace.out" "$row"
done

.venv/bin/pip install -q '.[bench]'
smoke tests.bench.latency --peer none
smoke tests.bench.fanout
printf 'PASS: the main line\n'
