#!/usr/bin/env bash
# The protocol in full, as a user meets it: tail over restarts, filters, tokens, links, forgetting; then the benchmarks small.
# It uses the checkout's .venv. Everything it makes is in one temporary directory, which is gone at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

WHAT='the protocol'
# shellcheck source=tests/acceptance/common.sh
. tests/acceptance/common.sh
PROJECT=$WORK/home/.claude/projects/-shop
PORT=$(.venv/bin/python -c 'from tests.running import free_port; print(free_port())')
mkdir -p "$PROJECT"

serve() {
    : >"$WORK/server.out"
    "${AS_NEW_USER[@]}" OBSERVATORY_PORT="$PORT" .venv/bin/observatory serve "$@" >"$WORK/server.out" 2>>"$WORK/server.log" &
    SERVER=$!
    wait_until "serve ${*:-without options} says where it listens" is_ready
}

end_server() {
    kill "-$1" "$SERVER"
    wait "$SERVER" 2>/dev/null || [ "$1" = KILL ] || fail "the server ended with exit code $?" "$WORK/server.log"
    SERVER=''
}

say() { # say N TEXT: the user of session N says it
    printf '{"type":"user","uuid":"u-%s-%s","parentUuid":null,"sessionId":"%s","cwd":"/shop","timestamp":"%s","message":{"role":"user","content":"%s"}}\n' \
        "$1" "$RANDOM$RANDOM" "session-$1" "$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)" "$2" >>"$PROJECT/session-$1.jsonl"
}

shown() { grep -qF -- "$1" "$WORK/tail.out"; }
times() { grep -cF -- "$1" "$WORK/tail.out" || true; }

# tail lives longer than the server: no line is lost, none comes twice.
serve
"${AS_NEW_USER[@]}" OBSERVATORY_PORT="$PORT" .venv/bin/observatory tail >"$WORK/tail.out" 2>"$WORK/tail.err" &
TAIL=$!
wait_until 'tail is connected' one_client_is_live
say a 'before the first end'
wait_until 'tail shows a line' shown 'before the first end'
end_server KILL
say a 'while the server was killed'
serve
wait_until 'tail shows what came while the server was killed' shown 'while the server was killed'
end_server TERM
say a 'while the server was restarted'
serve
wait_until 'tail shows what came during a restart' shown 'while the server was restarted'
for line in 'before the first end' 'while the server was killed' 'while the server was restarted'; do
    [ "$(times "user $line")" = 1 ] || fail "'$line' is shown $(times "user $line") times" "$WORK/tail.out"
done
pass 'each line is shown once'
kill "$TAIL"
wait "$TAIL" || true
check 'tail tells when the server was away, and when it is back' "$WORK/tail.err" 'connected again, nothing was missed'

# Filters work at the server.
observatory tail --since 0 -n 1 --where 'kind=prompt' --where 'type=message_added' --json >"$WORK/where.out" 2>&1 ||
    fail 'tail --where' "$WORK/where.out"
check 'tail --where shows what fits' "$WORK/where.out" '"kind":"prompt"'
if observatory tail --where 'colour=red' >"$WORK/where.out" 2>&1; then
    fail 'a filter on an unknown key is refused'
fi
check 'a filter on an unknown key says which' "$WORK/where.out" 'colour'

# What must not stay is removed, beside the running server, to the last byte.
say b 'the password is hunter2-of-acceptance'
secret_is_stored() { grep -rqF 'hunter2-of-acceptance' "$WORK/data"; }
wait_until 'a secret is archived' secret_is_stored
observatory forget --yes session-b >"$WORK/forget.out" 2>&1 || fail 'forget' "$WORK/forget.out" "$WORK/server.log"
secret_is_gone() { ! secret_is_stored; }
wait_until 'forget leaves no byte of it' secret_is_gone
end_server TERM

# Others are kept out.
if observatory serve --host 0.0.0.0 >"$WORK/open.out" 2>&1; then
    fail 'an open address without a token is refused'
elif [ $? -ne 2 ]; then
    fail 'an open address without a token ends with 2' "$WORK/open.out"
fi
check 'an open address needs a token, and serve says so' "$WORK/open.out" '--auth token'
serve --auth token
[ "$(stat -c %a "$WORK/data/token")" = 600 ] || fail 'the token is readable by its owner only'
pass 'the token is readable by its owner only'
"${AS_NEW_USER[@]}" OBSERVATORY_PORT="$PORT" .venv/bin/observatory status >"$WORK/status.out" 2>&1 || fail 'status with the token' "$WORK/status.out"
pass 'our own commands find the token'
"${AS_NEW_USER[@]}" OBSERVATORY_PORT="$PORT" .venv/bin/observatory token --link >"$WORK/link.out" 2>&1 || fail 'token --link' "$WORK/link.out"
.venv/bin/python - "$PORT" "$WORK/link.out" "$WORK/data/token" "$WORK/server.log" <<'PY' || fail 'strangers and links' "$WORK/server.log"
import http.client, re, sys
from pathlib import Path

port, link_file, token_file, log = sys.argv[1], *map(Path, sys.argv[2:])
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}

def get(target: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
    connection.request("GET", target, headers=headers)
    return connection.getresponse()

assert get("/ws", UPGRADE).status == 401, "no credential"
assert get("/ws", UPGRADE | {"Origin": "http://evil.example"}).status == 403, "foreign origin"
assert get("/ws", UPGRADE | {"Host": "evil.example"}).status == 421, "rebound name"
assert get("/ws?token=abc", UPGRADE).status == 400, "credential in the URL"
[link] = re.findall(r"http://[^/]+(/\S+)", link_file.read_text())
cookie = get(link, {}).headers["Set-Cookie"]
assert "HttpOnly" in cookie and "SameSite=Strict" in cookie, cookie
assert get(link, {}).status == 403, "a link works once"
token = token_file.read_text().strip()
assert token not in log.read_text() + link_file.read_text(), "the token is in no log"
PY
pass 'strangers get 401, foreign pages 403, a rebound name 421; a link works once; the token is in no log'
end_server TERM

smoke tests.bench.kill
smoke tests.bench.slow
smoke tests.bench.replay
smoke tests.bench.storm
smoke tests.bench.frames
printf 'PASS: the protocol\n'
