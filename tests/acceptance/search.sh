#!/usr/bin/env bash
# What was said is found, shown, taken along and kept: over the real transcripts, beside a server and without one.
# It uses the checkout's .venv. Everything it makes is in one temporary directory, which is gone at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

WHAT='search, export and upkeep'
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
mkdir -p "$WORK/home/projects/-home-ada-shop"
printf '{"type":"user","uuid":"u1","sessionId":"acceptance-1","cwd":"/home/ada/shop","timestamp":"%s",%s\n' \
    '2020-01-01T00:00:00.000Z' '"message":{"role":"user","content":"why is the acceptance_total of 東京都 wrong?"}}' \
    >"$WORK/home/projects/-home-ada-shop/acceptance-1.jsonl"

# run NAME COMMAND…: it ends well; what it says is in NAME.out and NAME.err.
run() {
    local name=$1
    observatory "${@:2}" >"$WORK/$name.out" 2>"$WORK/$name.err" || fail "observatory ${*:2}" "$WORK/$name.out" "$WORK/$name.err"
}
# refused NAME CODE TEXT COMMAND…: one line, and this exit code.
refused() {
    local code=0
    observatory "${@:4}" >"$WORK/$1.out" 2>"$WORK/$1.err" || code=$?
    [ "$code" -eq "$2" ] || fail "observatory ${*:4} ends with $2, not $code" "$WORK/$1.err"
    [ "$(wc -l <"$WORK/$1.err")" -eq 1 ] || fail "observatory ${*:4} says one line" "$WORK/$1.err"
    check "observatory ${*:4} is refused in one line" "$WORK/$1.err" "$3"
}

# Without a server.
refused none 1 'there is no archive' search anything
run import import --root "$WORK/home"
run search search acceptance_total
check 'an identifier is found' "$WORK/search.out" 'why is the acceptance_total of'
run search search 京都
check 'two characters of a script without spaces are found' "$WORK/search.out" 'why is the acceptance_total of'
run search search --exact 'cceptance_total of' --json
check 'a part of a word is found exactly' "$WORK/search.out" '"conversation_id":"acceptance-1"'
refused query 2 'use --exact' search '::'
run show show accept --no-pager
check 'a conversation is shown' "$WORK/show.out" 'why is the acceptance_total of'
run resume resume accept
check 'the line that resumes it' "$WORK/resume.out" 'cd -- /home/ada/shop && claude --resume acceptance-1'
run tag tag accept cart --star --note 'look here'
run ls ls sessions --tag cart
check 'a tag is listed' "$WORK/ls.out" '[cart]'

# Taken along: every sample byte for byte.
run ls ls sessions --agents --json
same=0
while read -r id file; do
    observatory export "$id" >"$WORK/export.out" 2>"$WORK/export.err" || fail "export $id" "$WORK/export.err"
    cmp -s "$WORK/export.out" "$file" || fail "export $id is the transcript" "$WORK/export.err"
    same=$((same + 1))
done < <(.venv/bin/python -c '
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    print(row["id"], row["file_path"])' <"$WORK/ls.out")
[ "$same" -eq 36 ] || fail "36 conversations are exported, not $same"
pass "$same transcripts come back byte for byte"
run page export accept --format html
check 'a page forbids what it does not need' "$WORK/page.out" "default-src 'none'"
run markdown export accept --format markdown
check 'Markdown quotes the prompt' "$WORK/markdown.out" '> why is the acceptance_total of'

# Kept.
run backup backup "$WORK/copy.db"
run prune prune --older-than 2y --project shop --also-marked --yes
check 'old records go' "$WORK/prune.out" 'pruned'
run search search acceptance_total
[ ! -s "$WORK/search.out" ] || fail 'what was pruned is not found' "$WORK/search.out"
observatory doctor --account --root "$WORK/home" >"$WORK/account.out" 2>&1 || fail 'the account stays clean' "$WORK/account.out"
pass 'the account stays clean'
refused restore 2 'move it aside with --force' restore "$WORK/copy.db"
run restore restore "$WORK/copy.db" --force
run search search acceptance_total
check 'a backup has it still' "$WORK/search.out" 'why is the acceptance_total of'
run rebuild doctor --rebuild --root "$WORK/home"
check 'an archive that is well is rebuilt whole' "$WORK/rebuild.out" 'and 36 conversations'
run search search acceptance_total
check 'and found in' "$WORK/search.out" 'why is the acceptance_total of'

# Beside a server.
"${AS_NEW_USER[@]}" .venv/bin/observatory serve --root "$WORK/home" >"$WORK/server.out" 2>"$WORK/server.log" &
SERVER=$!
wait_until 'serve says where it listens' is_ready
printf '{"type":"user","uuid":"u2","sessionId":"acceptance-1","cwd":"/home/ada/shop","timestamp":"%s",%s\n' \
    '2026-11-25T00:00:00.000Z' '"message":{"role":"user","content":"and now the discounting"}}' \
    >>"$WORK/home/projects/-home-ada-shop/acceptance-1.jsonl"
is_found() { observatory search discounting 2>/dev/null | grep -q 'and now the discounting'; }
wait_until 'a new line is found within seconds' is_found
run tag tag accept later
check 'a server tags for the command' "$WORK/tag.out" 'later'
run backup backup "$WORK/second.db"
run forget forget accept --yes
is_there_again() { observatory search numpy 2>/dev/null | grep -q numpy; }
wait_until 'the index is made anew' is_there_again
run search search discounting
[ ! -s "$WORK/search.out" ] || fail 'what was forgotten is not found' "$WORK/search.out"
if grep -aq discounting "$WORK"/data/*.db "$WORK"/data/*-wal; then
    fail 'nothing of it is in any file'
fi
pass 'what was forgotten is in no file, the index included'
kill -TERM "$SERVER"
wait "$SERVER" || fail 'SIGTERM ends it with exit code 0' "$WORK/server.log"
SERVER=''
refused notify 2 'no way is configured' notify test
smoke tests.bench.search
