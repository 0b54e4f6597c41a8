#!/usr/bin/env bash
# The dashboard: built by pip alone from a clean copy, linted, small enough, served, and what a browser shows of it.
# It uses the checkout's .venv. Everything it makes is in one temporary directory, which is gone at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

WHAT='the dashboard'
# shellcheck source=tests/acceptance/common.sh
. tests/acceptance/common.sh
WEB=observatory/web
NODE=$PWD/.venv/bin/node
LIMIT=$((250 * 1024)) # bytes, gzipped

(cd "$WEB" && "$NODE" node_modules/eslint/bin/eslint.js .) || fail 'eslint has no complaint'
pass 'eslint has no complaint'
(cd "$WEB" && "$NODE" node_modules/svelte-check/bin/svelte-check --tsconfig ./tsconfig.json --fail-on-warnings) \
    >"$WORK/check.out" 2>&1 || fail 'the types are right' "$WORK/check.out"
pass 'the types are right'

git archive HEAD | tar -x --one-top-level="$WORK/copy"
.venv/bin/pip wheel -q --no-deps -w "$WORK/wheel" "$WORK/copy" >"$WORK/wheel.out" 2>&1 ||
    fail 'pip alone builds the package with the dashboard' "$WORK/wheel.out"
.venv/bin/python -m zipfile -l "$WORK"/wheel/*.whl >"$WORK/listed.out"
check 'pip alone builds the package with the dashboard' "$WORK/listed.out" 'observatory/web/dist/assets/index-'
check 'the licences of what is in it are there' "$WORK/listed.out" 'observatory/web/dist/licences.txt'
if grep -q node_modules "$WORK/listed.out"; then fail 'nothing of the build is in the package' "$WORK/listed.out"; fi
pass 'nothing of the build is in the package'

.venv/bin/python -m zipfile -e "$WORK"/wheel/*.whl "$WORK/unpacked"
SIZE=0
for file in "$WORK"/unpacked/observatory/web/dist/index.html "$WORK"/unpacked/observatory/web/dist/assets/*; do
    SIZE=$((SIZE + $(gzip -9 -c "$file" | wc -c)))
done
[ "$SIZE" -le "$LIMIT" ] || fail "its $SIZE bytes, gzipped, are at most $LIMIT"
pass "its $SIZE bytes, gzipped, are at most $LIMIT"

CI=true .venv/bin/python -m pytest -q -n 3 -p no:cacheprovider tests/web >"$WORK/browser.out" 2>&1 ||
    fail 'a browser shows what is there, and runs nothing of it' "$WORK/browser.out"
check 'a browser shows what is there, and runs nothing of it' "$WORK/browser.out" ' passed'
if grep -q skipped "$WORK/browser.out"; then fail 'no test of the browser was skipped' "$WORK/browser.out"; fi
pass 'no test of the browser was skipped'
