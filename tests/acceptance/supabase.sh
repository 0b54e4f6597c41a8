#!/usr/bin/env bash
# The copy at Supabase, on a real PostgreSQL: recorded answers, policies, migrations, kills, trimmed events, checksums.
# It uses the checkout's .venv. Everything it makes is in one temporary directory, which is gone at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

WHAT='the copy at Supabase'
# shellcheck source=tests/acceptance/common.sh
. tests/acceptance/common.sh

played() { # title, then what pytest is to run
    local title=$1
    shift
    CI=true .venv/bin/python -m pytest -q -n 3 -p no:cacheprovider "$@" >"$WORK/played.out" 2>&1 ||
        fail "$title" "$WORK/played.out"
    check "$title" "$WORK/played.out" ' passed'
    if grep -q skipped "$WORK/played.out"; then fail "$title: none was skipped" "$WORK/played.out"; fi
}

CASES=$(find tests/postgrest/cases -name '*.yaml' | wc -l)
[ "$CASES" -eq 59 ] || fail "there are 59 recorded answers, and not $CASES"
played 'the stand-in answers as PostgREST did in all 59 cases' tests/postgrest
played 'each role may do to each table what the docs say, and no more' tests/sinks/test_policies.py
played 'each earlier version of the tables is brought up' tests/sinks/test_migrating.py
played 'the copy equals the archive by both ways' tests/sinks/test_copying.py
played 'over kills and trimmed events as well' tests/sinks/test_serving.py
.venv/bin/python -m tests.bench.sink --smoke >"$WORK/bench.out" 2>&1 || fail 'the benchmark runs in smoke size' "$WORK/bench.out"
check 'the benchmark runs in smoke size' "$WORK/bench.out" 'records/s'
