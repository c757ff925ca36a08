#!/usr/bin/env bash
# Installs what the build needs and is missing: Debian packages, ONNX Runtime (the makers' own build, from Maven) and its
# headers (from Debian 13; only headers are taken), and ONNX's schema (from its makers' Python package). Everything that is not a Debian package of this system goes to
# build/deps. Quick when nothing is missing. Run as root, or with the packages already there. Arguments: further Debian packages.
set -euo pipefail
cd "$(dirname "$0")/.."

deps=build/deps
ort_version=1.28.0
ort_sha256=$(sed -n 's/^onnxruntime-jar //p' tools/checksums.txt)
onnx_version=1.23.2
onnx_sha256=$(sed -n 's/^onnx-ml.proto //p' tools/checksums.txt)
headers_version=1.21.0+dfsg
packages=(ccache cmake g++ libarchive-dev libcli11-dev libeigen3-dev libgtest-dev libnghttp2-dev libpng-dev libprotobuf-dev libseccomp-dev
  libsimdjson-dev libsqlite3-dev libssl-dev libturbojpeg0-dev libyaml-cpp-dev zlib1g-dev make maven ninja-build nlohmann-json3-dev pkg-config protobuf-compiler python3 python3-venv unzip "$@")

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

install_packages() {
  local missing=()
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  # A Maven or JDK that is not a Debian package serves as well.
  if command -v mvn >/dev/null; then missing=("${missing[@]/#maven/}"); fi
  local names; names=$(echo "${missing[@]}" | xargs)
  [ -n "$names" ] || return 0
  say "installing Debian packages: $names"
  [ "$(id -u)" = 0 ] || die "not root: run 'apt-get install $names' and come back"
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $names >"$deps/apt.log" 2>&1 ||
    { tail -20 "$deps/apt.log" >&2; die "apt-get failed; the whole log is $deps/apt.log"; }
}

install_engine() {
  [ -e "$deps/onnxruntime-$ort_version/lib/libonnxruntime.so.1" ] && return 0
  say "fetching ONNX Runtime $ort_version"
  local target=$deps/onnxruntime-$ort_version work
  work=$(mktemp -d "$deps/engine.XXXXXX")
  mvn -q -B dependency:get -Dtransitive=false -Dartifact="com.microsoft.onnxruntime:onnxruntime:$ort_version:jar" \
    >"$deps/maven.log" 2>&1 || { tail -20 "$deps/maven.log" >&2; die "Maven failed; the whole log is $deps/maven.log"; }
  local jar
  jar=$(mvn -q -B help:evaluate -Dexpression=settings.localRepository -DforceStdout 2>/dev/null || true)
  [ -d "$jar" ] || jar=$HOME/.m2/repository
  jar=$jar/com/microsoft/onnxruntime/onnxruntime/$ort_version/onnxruntime-$ort_version.jar
  echo "$ort_sha256  $jar" | sha256sum -c --quiet || die "the ONNX Runtime package has another checksum than tools/checksums.txt"
  unzip -q -o "$jar" 'ai/onnxruntime/native/linux-x64/libonnxruntime.so' -d "$work"
  mkdir -p "$target/lib"
  mv "$work/ai/onnxruntime/native/linux-x64/libonnxruntime.so" "$target/lib/libonnxruntime.so.$ort_version"
  ln -sf "libonnxruntime.so.$ort_version" "$target/lib/libonnxruntime.so.1"
  rm -r "$work"
}

# The jar has no headers. Debian 13 packages those of 1.21; the C interface is versioned, so they serve 1.28 as they are.
# The system's own package sources stay untouched: a private list with its server and key, in a folder of its own.
install_headers() {
  [ -e "$deps/onnxruntime-headers/onnxruntime_cxx_api.h" ] && return 0
  say "fetching the ONNX Runtime headers"
  local apt=$PWD/$deps/apt uri key
  mkdir -p "$apt"/{lists/partial,cache/archives/partial}
  uri=$( (grep -hE '^(URIs:|deb )' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true) |
    grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1 | xargs)
  [ -n "$uri" ] || die "no Debian package source found in /etc/apt"
  key=/usr/share/keyrings/debian-archive-keyring.gpg
  echo "deb [signed-by=$key] $uri trixie main" >"$apt/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$apt/lists"
    -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root -o Debug::NoLocking=1)
  apt-get "${options[@]}" update -qq
  (cd "$apt" && rm -f ./*.deb && apt-get "${options[@]}" download -qq libonnxruntime-dev)
  local package; package=$(ls "$apt"/libonnxruntime-dev_*.deb)
  case "$package" in *"_${headers_version}"*) ;; *) say "note: headers $(basename "$package"), expected $headers_version" ;; esac
  dpkg-deb -x "$package" "$apt/unpacked"
  mkdir -p "$deps/onnxruntime-headers"
  cp -r "$apt"/unpacked/usr/include/onnxruntime/. "$deps/onnxruntime-headers/"
  rm -r "$apt"
  local header; header=$(find "$deps/onnxruntime-headers" -name onnxruntime_cxx_api.h | head -1)
  [ -n "$header" ] || die "the package has no onnxruntime_cxx_api.h"
  if [ "$(dirname "$header")" != "$deps/onnxruntime-headers" ]; then cp "$(dirname "$header")"/*.h "$deps/onnxruntime-headers/"; fi
}

# What a model file's bytes mean, as a protobuf schema; of the Python package only this file is taken.
install_schema() {
  [ -e "$deps/onnx/onnx-ml.proto" ] && return 0
  say "fetching the ONNX schema $onnx_version"
  local work; work=$(mktemp -d "$deps/onnx.XXXXXX")
  { python3 -m venv "$work/venv" && "$work/venv/bin/pip" download -q --no-deps --only-binary :all: -d "$work" "onnx==$onnx_version"; } \
    >"$deps/onnx.log" 2>&1 || { tail -20 "$deps/onnx.log" >&2; die "pip failed; the whole log is $deps/onnx.log"; }
  unzip -q -o -j "$work"/onnx-*.whl onnx/onnx-ml.proto -d "$work"
  echo "$onnx_sha256  $work/onnx-ml.proto" | sha256sum -c --quiet || die "onnx-ml.proto has another checksum than tools/checksums.txt"
  mkdir -p "$deps/onnx"
  mv "$work/onnx-ml.proto" "$deps/onnx/onnx-ml.proto"
  rm -r "$work"
}

mkdir -p "$deps"
install_packages
install_engine
install_headers
install_schema
say "ready"
