#!/usr/bin/env bash
# One port: the API by curl and by generated requests, hooks, the live terminal, metrics, logging in.
# It uses the checkout's .venv. Everything it makes is in one temporary directory, which is gone at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

WHAT='one port'
# shellcheck source=tests/acceptance/common.sh
. tests/acceptance/common.sh
PORT=$(.venv/bin/python -c 'from tests.running import free_port; print(free_port())')
API=http://127.0.0.1:$PORT/api/v1
CLAUDE=$WORK/home/.claude
mkdir -p "$CLAUDE/projects/-home-ada-shop"
LINE='{"type":"user","uuid":"u%s","sessionId":"acceptance-1","cwd":"/home/ada/shop","timestamp":"2026-11-22T21:00:00.000Z",'
LINE+='"message":{"role":"user","content":"why is the total of cart %s wrong?"}}\n'
# shellcheck disable=SC2059
say() { printf "$LINE" "$1" "$1" >>"$CLAUDE/projects/-home-ada-shop/acceptance-1.jsonl"; }
say 1

start_server() {
    "${AS_NEW_USER[@]}" .venv/bin/observatory serve --port "$PORT" --log-format json "$@" \
        >"$WORK/server.out" 2>"$WORK/server.log" &
    SERVER=$!
    wait_until 'the server is ready' is_ready
}
stop_server() {
    kill -TERM "$SERVER"
    wait "$SERVER" || fail 'the server ends in order' "$WORK/server.log"
    SERVER=''
    : >"$WORK/server.out"
}

# ask NAME PATH [curl's options]: the answer is in NAME.out.
ask() {
    curl -sS --max-time 20 -o "$WORK/$1.out" "${@:3}" "$API$2" || fail "curl $2" "$WORK/$1.out"
}
# status CODE PATH [curl's options]: that is the answer's status.
status() {
    local got
    got=$(curl -sS --max-time 20 -o "$WORK/status.out" -w '%{http_code}' "${@:3}" "$API$2")
    [ "$got" = "$1" ] || fail "$2 is answered by $1, not $got" "$WORK/status.out"
    pass "$2 is answered by $1"
}

start_server
ask health /health
check 'the health takes the real path' "$WORK/health.out" '"hop":"router"'
ask list '/conversations?text=cart'
check 'conversations are listed' "$WORK/list.out" '"id":"acceptance-1"'
check 'every answer has its position' "$WORK/list.out" '"position":{"epoch":'
for _ in $(seq 100); do
    ask search '/search?q=cart'
    if grep -q acceptance-1 "$WORK/search.out"; then break; fi
    sleep 0.1
done
check 'what was said is found' "$WORK/search.out" '"conversation_id":"acceptance-1"'
ask export '/conversations/acceptance-1/export'
cmp -s "$WORK/export.out" "$CLAUDE/projects/-home-ada-shop/acceptance-1.jsonl" || fail 'an export is the file'
pass 'an export is the file'

# Streams.
curl -sN --max-time 10 "$API/events/stream?topic=all_conversations" >"$WORK/stream.out" 2>/dev/null &
for _ in $(seq 50); do
    if grep -q retry "$WORK/stream.out"; then break; fi
    sleep 0.1
done
say 2
for _ in $(seq 50); do
    if grep -q 'cart 2 wrong' "$WORK/stream.out"; then break; fi
    sleep 0.1
done
check 'server-sent events tell of a line' "$WORK/stream.out" 'cart 2 wrong'
ask lines '/events/ndjson?since=0'
check 'the log comes as lines' "$WORK/lines.out" '"type":"message_added"'

# Hooks.
observatory hooks install --yes >"$WORK/hooks.out" || fail 'hooks install' "$WORK/hooks.out"
check 'what changes is shown' "$WORK/hooks.out" '+  "hooks": {'
HOOK=$(.venv/bin/python -c 'import json, sys
print(json.load(open(sys.argv[1]))["hooks"]["PermissionRequest"][0]["hooks"][0]["command"])' "$CLAUDE/settings.json")
printf '{"hook_event_name":"PermissionRequest","session_id":"acceptance-1","tool_name":"Bash"}' | sh -c "$HOOK"
ask told '/conversations/acceptance-1/hooks'
check 'a hook is told and kept' "$WORK/told.out" '"hook_event_name":"PermissionRequest"'
observatory hooks remove --yes >"$WORK/hooks.out" || fail 'hooks remove' "$WORK/hooks.out"
[ "$(tr -d ' \n' <"$CLAUDE/settings.json")" = '{}' ] || fail 'what was there before is there again' "$CLAUDE/settings.json"
pass 'hooks are taken back'

# The live terminal.
observatory top --once >"$WORK/top.out" || fail 'top --once' "$WORK/top.out"
check 'top shows what waits' "$WORK/top.out" '◆'

# Who may not.
status 421 /status -H 'Host: evil.example'
status 403 /status -H 'Origin: http://evil.example'
status 403 /forget -H 'Origin: http://evil.example' -H 'Content-Type: application/json' -d '{"conversation":"acceptance-1"}'
status 415 /forget -d '{"conversation":"acceptance-1","dry_run":false}'
status 400 '/conversations?colour=red'
status 404 /conversations/nobody
status 404 '/../../../etc/passwd' --path-as-is
status 410 '/events/poll?since=another1:5'
status 200 '/conversations/acceptance-1'

# Metrics.
curl -sS "http://127.0.0.1:$PORT/metrics" >"$WORK/metrics.out"
if command -v promtool >/dev/null; then
    promtool check metrics <"$WORK/metrics.out" >"$WORK/promtool.out" 2>&1 || fail 'promtool check metrics' "$WORK/promtool.out"
    [ ! -s "$WORK/promtool.out" ] || fail 'promtool has nothing to say' "$WORK/promtool.out"
    pass 'promtool check metrics'
elif [ "${CI:-}" = true ]; then
    fail 'promtool is not installed'
else
    printf 'SKIP: promtool is not installed (package prometheus)\n'
fi

# Thousands of generated requests: document and answers agree, and nothing is a defect.
cat >"$WORK/schemathesis.toml" <<'END'
# 422: a request that is of its shape, and still cannot be: a day that there is not, a cursor of another search.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "422"]
END
.venv/bin/schemathesis --config-file "$WORK/schemathesis.toml" run "$API/openapi.json" --checks all -n 40 \
    >"$WORK/schemathesis.out" 2>&1 || fail 'schemathesis is clean' "$WORK/schemathesis.out"
pass "schemathesis: $(grep -o '[0-9]* generated, [0-9]* passed' "$WORK/schemathesis.out")"
ask health /health
check 'the server is well after it' "$WORK/health.out" '"status":"ok"'
! grep -q '"level":"error"' "$WORK/server.log" || fail 'no defect was met' "$WORK/server.log"
pass 'no defect was met'
stop_server

# With a token.
start_server --auth token
status 401 /status
status 200 /health
status 200 /status -H "Authorization: Bearer $(cat "$WORK/data/token")"
curl -sS -c "$WORK/cookies" -H 'Content-Type: application/json' -d "{\"token\":\"$(cat "$WORK/data/token")\"}" "$API/login" >"$WORK/login.out"
check 'the token becomes a cookie' "$WORK/login.out" '"done":true'
status 200 /status -b "$WORK/cookies"
stop_server

smoke tests.bench.http
printf 'PASS: one port\n'
