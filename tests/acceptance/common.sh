# What the acceptance scripts share; sourced by them, with WHAT set to the name of the script's subject.
# shellcheck shell=bash
WORK=$(mktemp -d)
: >"$WORK/status.err"
SERVER=''

clean_up() {
    status=$?
    if [ -n "$SERVER" ]; then
        kill -KILL "$SERVER" 2>/dev/null || true
        wait "$SERVER" 2>/dev/null || true
    fi
    rm -rf "$WORK"
    if [ "$status" -ne 0 ]; then
        printf 'FAIL: %s\n' "$WHAT"
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
