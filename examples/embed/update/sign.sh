#!/bin/sh
# sign.sh KEY IMAGE UPDATE: writes the image and its signature behind it. KEY stays where releases are made.
set -e
digest=$(mktemp)
trap 'rm -f "$digest"' EXIT
openssl dgst -sha256 -binary "$2" >"$digest"
openssl pkeyutl -sign -rawin -inkey "$1" -in "$digest" | cat "$2" - >"$3"
