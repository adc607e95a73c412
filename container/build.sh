#!/usr/bin/env bash
# Build the image with Docker, Podman, or Buildah, whichever is there:
#   container/build.sh NAME [OPTION OF THE BUILD COMMAND ...]
set -euo pipefail
cd "$(dirname "$0")"
name=$1
shift

version=$(sed -n 's/^TOOL_VERSION = "\(.*\)"$/\1/p' github_s3_backup/version.py)
revision=$(git rev-parse HEAD 2> /dev/null || true)
if [ -n "$(git status --porcelain . 2> /dev/null)" ]; then revision=; fi

if docker info > /dev/null 2>&1; then
    build=(docker build)
elif command -v podman > /dev/null; then
    build=(podman build)
elif command -v buildah > /dev/null; then
    build=(buildah bud)
else
    echo "No Docker daemon answers, and neither podman nor buildah is installed: the image can't be built here." >&2
    exit 1
fi
echo "building $name with ${build[0]}: version $version, commit ${revision:-not known, or container/ was changed since}"
exec "${build[@]}" --build-arg VERSION="$version" --build-arg REVISION="$revision" --tag "$name" "$@" .
