#!/usr/bin/env bash
# Print the digest that the Dockerfile's base has in its registry today, for all architectures; with --write, put it into
# the Dockerfile. Asks with Docker's buildx, or with skopeo.
set -euo pipefail
cd "$(dirname "$0")"
base=$(sed -n 's/^ARG BASE=//p' Dockerfile)

if docker buildx version > /dev/null 2>&1; then
    digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$base")
elif command -v skopeo > /dev/null; then
    digest=$(skopeo inspect --format '{{.Digest}}' "docker://$base")
else
    echo "Neither docker buildx nor skopeo is installed: the digest of $base can't be looked up." >&2
    exit 1
fi
[[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "not a digest: $digest" >&2; exit 1; }
echo "$digest"
if [ "${1:-}" = --write ]; then
    sed -i.old "s/^ARG BASE_DIGEST=.*/ARG BASE_DIGEST=$digest/" Dockerfile
    rm Dockerfile.old
fi
