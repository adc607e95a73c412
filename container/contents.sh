#!/usr/bin/env bash
# Print what an image consists of, to compare two of them: the SHA-256 of each file of the program and of its Python
# packages, and the version of each Debian package.   container/contents.sh IMAGE
set -euo pipefail
if docker info > /dev/null 2>&1; then engine=docker; else engine=podman; fi
"$engine" create --name "contents-$$" "$1" > /dev/null
trap '"$engine" rm --volumes "contents-$$" > /dev/null' EXIT
for folder in app opt/venv; do
    "$engine" cp "contents-$$:/$folder" - | python3 -c '
import hashlib, sys, tarfile
with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as files:
    for line in sorted(f"{file.name}  {hashlib.sha256(files.extractfile(file).read()).hexdigest()}" for file in files if file.isfile()):
        print(line)
'
done
"$engine" cp "contents-$$:/var/lib/dpkg/status" - | tar --extract --to-stdout | awk '/^Package:/ { name = $2 } /^Version:/ { print name, $2 }' | sort
