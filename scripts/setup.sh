#!/usr/bin/env bash
# Sets up everything that building and testing need, once: Debian packages, a virtual environment, this package.
# A stamp that depends on pyproject.toml makes later runs return at once. Works as root or with sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=.venv
STAMP=$VENV/.recurc-setup
PYTHON=${PYTHON:-python3}
TORCH=${RECURC_TORCH:-torch==2.13.0}

want=$( (echo "$TORCH"; cat pyproject.toml scripts/setup.sh) | sha256sum | cut -d' ' -f1)

die() { echo "setup: $*" >&2; exit 6; }
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "root or sudo is needed for: $*"
    fi
}

# command -> Debian package that brings it
missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("${@:2}"); }
need gcc gcc libc6-dev
need g++ g++
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
need make make
need arm-none-eabi-gcc gcc-arm-none-eabi
[ -e /usr/lib/arm-none-eabi/newlib ] || missing+=(libnewlib-arm-none-eabi) # of examples/embed
need riscv64-unknown-elf-gcc gcc-riscv64-unknown-elf
need qemu-system-arm qemu-system-arm
need qemu-system-riscv32 qemu-system-misc
[ -e /usr/lib/picolibc/riscv64-unknown-elf ] || missing+=(picolibc-riscv64-unknown-elf)
[ -e /usr/include/sodium.h ] || missing+=(libsodium-dev)
need pkg-config pkg-config
need openssl openssl
need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
need qemu-aarch64 qemu-user
need clang clang
need cmake cmake
need "$PYTHON" python3
"$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1 || missing+=(python3-venv)

if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || die "install these by hand (no apt-get here): ${missing[*]}"
    echo "setup: installing ${missing[*]}"
    as_root apt-get update -qq
    if [[ " ${missing[*]} " == *" clang "* ]]; then # libFuzzer and the sanitizers are in a package named after its version
        version=$(apt-cache depends clang | sed -n 's/.*Depends: clang-\([0-9][0-9]*\)$/\1/p' | head -1)
        missing+=("libclang-rt-${version:-14}-dev")
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$want" ]; then
    exit 0
fi

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed, $("$PYTHON" -V) found"
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
echo "setup: installing Python packages into $VENV"
# torch first and by itself: where a CPU build of this version is at hand pip prefers it to the registry's CUDA build.
"$VENV/bin/pip" install --quiet "$TORCH"
"$VENV/bin/pip" install --quiet -e '.[dev]'
echo "$want" >"$STAMP"
