#!/usr/bin/env bash
# The fault harness, as a contributor uses it: list, play, replay a seed, random for a while, a short soak.
# It uses the checkout's .venv. Everything it makes is in one temporary directory, which is gone at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

WHAT='the fault harness'
# shellcheck source=tests/acceptance/common.sh
. tests/acceptance/common.sh

faults() { timeout 300 .venv/bin/python -m tests.faults "$@"; }

faults --list >"$WORK/list.out" || fail '--list' "$WORK/list.out"
check 'every row of the catalogue is listed' "$WORK/list.out" 'H07  '
check 'rows of parts to come say what they wait for' "$WORK/list.out" 'pending: observatory.engines'
if grep -q 'no scenario yet' "$WORK/list.out"; then
    fail 'a row has no scenario' "$WORK/list.out"
fi
faults N06 --seed 7 >"$WORK/play.out" 2>&1 || fail 'a row with a seed' "$WORK/play.out"
check 'a row is played with a seed, and a table ends it' "$WORK/play.out" 'passed'
if faults no-such-row >"$WORK/play.out" 2>&1; then
    fail 'an unknown name is refused'
elif [ $? -ne 2 ]; then
    fail 'an unknown name ends with 2' "$WORK/play.out"
fi
check 'an unknown name is named' "$WORK/play.out" 'no-such-row'
faults --random --minutes 0.3 >"$WORK/play.out" 2>&1 || fail '--random' "$WORK/play.out"
check 'random scenarios pass, and the seed is told' "$WORK/play.out" 'random, seed'
smoke tests.bench.soak
printf 'PASS: the fault harness\n'
