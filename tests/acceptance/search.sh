#!/usr/bin/env bash
# What was said is found, shown, taken along and kept: over the real transcripts.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
