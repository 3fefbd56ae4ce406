#!/usr/bin/env bash
# The main job on the bundled default model: build for an STM32H7 at 4 bits, then run puzzles on its emulated twin.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

run() { echo "\$ $*"; "$@"; }
run recurc build --target stm32h7 --precision int4 --out build/demo
run recurc verify build/demo --on qemu --offset 4 --limit 3 --show
