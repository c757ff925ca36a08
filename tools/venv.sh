#!/usr/bin/env bash
# Makes build/venv, the Python that examples and client tests run in, from the pinned requirement files. Quick when nothing
# has changed: a stamp holds the hash of those files. Nothing of it is needed to build or run Mayfly itself.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=build/venv
requirements=()
for file in examples/requirements.txt tests/clients/requirements.txt; do
  if [ -f "$file" ]; then requirements+=("$file"); fi
done

say() { printf 'venv: %s\n' "$*"; }
die() { printf 'venv: %s\n' "$*" >&2; exit 1; }

python=$(command -v python3) || die "python3 is missing: run tools/setup.sh"
# A virtual environment holds absolute paths, so its own place is part of the stamp.
stamp=$({ echo "$PWD"; "$python" --version; cat "${requirements[@]}"; } | sha256sum | cut -d' ' -f1)
if [ "$(cat "$venv/stamp" 2>/dev/null || true)" = "$stamp" ]; then
  say "ready"
  exit 0
fi

say "making $venv ($("$python" --version))"
rm -rf "$venv"
mkdir -p build
"$python" -m venv "$venv" || die "'$python -m venv' failed: is python3-venv installed? tools/setup.sh installs it"
say "installing ${requirements[*]} (versions and hashes pinned)"
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-compile --only-binary=:all: --require-hashes "${requirements[@]/#/-r}" ||
  die "pip could not install ${requirements[*]}; is the package index reachable?"
echo "$stamp" >"$venv/stamp"
say "ready"
