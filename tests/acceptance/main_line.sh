#!/usr/bin/env bash
# What a new user does: clone, run the README's first command, see a line arrive. Then benches in smoke size and trace.
# It clones what is committed. Everything it makes is in one temporary directory, which is gone at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

RUN_COMMAND=$(grep -E '^python3 -m venv .*observatory serve$' README.md)
SET_UP=${RUN_COMMAND% && *}
SERVE=${RUN_COMMAND##* && }
WORK=$(mktemp -d)
: >"$WORK/status.err"
CLONE=$WORK/clone
SERVER=''

clean_up() {
    status=$?
    if [ -n "$SERVER" ]; then
        kill -KILL "$SERVER" 2>/dev/null || true
        wait "$SERVER" 2>/dev/null || true
    fi
    rm -rf "$WORK"
    if [ "$status" -ne 0 ]; then
        printf 'FAIL: the main line\n'
    fi
}
trap clean_up EXIT

pass() { printf 'PASS: %s\n' "$1"; }

fail() {
    printf 'FAIL: %s\n' "$1"
    for file in "${@:2}"; do
        printf -- '--- %s (its end)\n' "${file#"$WORK"/}"
        tail -n 20 "$file" | cut -c -2000
    done
    exit 1
}

# check WHAT FILE TEXT: the file contains the text.
check() {
    if grep -qF -- "$3" "$2"; then
        pass "$1"
    else
        fail "$1: no '$3'" "$2" "$WORK/server.log"
    fi
}

# wait_until WHAT COMMAND…: the command succeeds within 20 s.
wait_until() {
    local deadline=$((SECONDS + 20))
    until "${@:2}"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            fail "$1" "$WORK"/*.err "$WORK/server.out" "$WORK/server.log"
        fi
        sleep 0.1
    done
    pass "$1"
}

# As a user who has nothing yet: none of this machine's settings, and an empty home.
AS_NEW_USER=(env -u CLAUDE_CONFIG_DIR -u XDG_CONFIG_HOME -u XDG_DATA_HOME -u OBSERVATORY_CONFIG -u OBSERVATORY_ROOTS
    -u OBSERVATORY_LOG_FORMAT HOME="$WORK/home" OBSERVATORY_DATA_DIR="$WORK/data" OBSERVATORY_PORT=0)

observatory() { "${AS_NEW_USER[@]}" timeout 20 .venv/bin/observatory "$@"; }
is_ready() { grep -q 'ready at ws://' "$WORK/server.out"; }
one_client_is_live() { observatory status --json 2>"$WORK/status.err" | grep -q '"live": 1'; }

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

# smoke MODULE OPTION…: the benchmark runs in its smallest size.
smoke() {
    local module=$1
    if [ ! -e "${module//.//}.py" ]; then
        if [ "${CI:-}" = true ]; then
            fail "$module does not exist"
        fi
        printf 'SKIP: %s does not exist yet\n' "$module"
        return
    fi
    if timeout 300 .venv/bin/python -m "$module" --smoke "${@:2}" >"$WORK/bench.out" 2>&1; then
        cat "$WORK/bench.out"
        pass "$module runs in smoke size"
    else
        fail "$module" "$WORK/bench.out"
    fi
}

.venv/bin/pip install -q '.[bench]'
smoke tests.bench.latency --peer none
smoke tests.bench.fanout
printf 'PASS: the main line\n'
