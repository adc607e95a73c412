#!/usr/bin/env bash
# Fetches git 2.30 with apt, from Debian's archive, and runs the histories of bundles of changes with it as server,
# program, and restore. Where it can't be had, this says so and ends well.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder="$PWD/build/oldest-git" keys=/usr/share/keyrings/debian-archive-keyring.gpg

fetch() {
    local archive
    # shellcheck disable=SC2016
    archive=$(apt-get indextargets --format '$(REPO_URI)' | grep -m 1 '/debian/$') || return
    mkdir -p "$folder"/{etc,lists/partial,archives/partial}
    echo "deb [signed-by=$keys] $archive bullseye main" > "$folder/etc/sources.list"
    cat > "$folder/apt.conf" << END
Dir::State::lists "$folder/lists";
Dir::Cache::archives "$folder/archives";
Dir::Etc::sourcelist "$folder/etc/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Sandbox::User "";
END
    export APT_CONFIG="$folder/apt.conf"
    apt-get update && (cd "$folder" && apt-get download git/bullseye && dpkg -x git_*.deb root)
}

mkdir -p build
if [ ! -x "$folder/root/usr/bin/git" ] && ! fetch > "$folder.log" 2>&1; then
    echo "skipped: git 2.30 cannot be had here (see $folder.log)"
    exit 0
fi
mkdir -p "$folder/bin"
printf '#!/bin/sh\nexport GIT_EXEC_PATH=%q\nexec %q "$@"\n' \
    "$folder/root/usr/lib/git-core" "$folder/root/usr/bin/git" > "$folder/bin/git"
chmod +x "$folder/bin/git"
PATH="$folder/bin:$PATH"
git --version
exec .venv/bin/pytest tests/test_backup/test_changes.py "$@"
