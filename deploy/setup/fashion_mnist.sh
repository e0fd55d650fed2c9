#!/usr/bin/env bash
# Puts Fashion-MNIST's four files into .kindred/data/fashion-mnist of this checkout, without root.
#
# They come from Debian's package dataset-fashion-mnist (MIT licence). Elsewhere, or offline, put the four files
# (train-images-idx3-ubyte.gz and so on) there yourself, or name their folder in KINDRED_FASHION_MNIST.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=$root/.kindred/data/fashion-mnist
package=dataset-fashion-mnist
say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# SHA-256 of the unpacked files; packers differ.
sums() {
  cat <<'SUMS'
c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888  train-images-idx3-ubyte
bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9  train-labels-idx1-ubyte
5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b  t10k-images-idx3-ubyte
0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34  t10k-labels-idx1-ubyte
SUMS
}
good() {
  sums | while read -r digest name; do
    [ "$(gzip -dc "$1/$name.gz" 2>/dev/null | sha256sum)" = "$digest  -" ] || exit 1
  done
}

if good "$target"; then
  say "Fashion-MNIST is in place"
  exit 0
fi
mkdir -p "$target"
for folder in "${KINDRED_FASHION_MNIST:-}" /usr/share/datasets/fashion-mnist; do
  if [ -n "$folder" ] && good "$folder"; then
    cp "$folder"/*-ubyte.gz "$target/"
    say "Fashion-MNIST copied from $folder"
    exit 0
  fi
done
[ -z "${KINDRED_FASHION_MNIST:-}" ] || fail "KINDRED_FASHION_MNIST=$KINDRED_FASHION_MNIST does not hold the four files with the digests that are expected"
command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
  fail "this is not Debian: put Fashion-MNIST's four .gz files into $target, or name their folder in KINDRED_FASHION_MNIST"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say "Fashion-MNIST: downloading Debian's package (31 MB)"
cd "$work"
# apt drops root's rights for downloads; lists and cache of its own make both root and others work.
options=(-qq -o Debug::NoLocking=1 -o APT::Sandbox::User=root)
if ! apt-get "${options[@]}" download "$package" 2>"$work/log"; then
  mkdir -p lists/partial cache/archives/partial
  options+=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache")
  apt-get "${options[@]}" update 2>>"$work/log" && apt-get "${options[@]}" download "$package" 2>>"$work/log" || {
    cat "$work/log" >&2
    fail "the download failed: put the four .gz files into $target, or name their folder in KINDRED_FASHION_MNIST"
  }
fi
dpkg -x "$package"_*.deb "$work/tree"
good "$work/tree/usr/share/datasets/fashion-mnist" || fail "the package's files do not have the digests that are expected"
cp "$work"/tree/usr/share/datasets/fashion-mnist/*-ubyte.gz "$target/"
say "Fashion-MNIST: ready in ${target#"$root"/}"
