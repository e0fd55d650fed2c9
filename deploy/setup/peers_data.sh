#!/usr/bin/env bash
# Puts what the data path is measured against into .tools/peers-data: torchvision on Pillow, OpenCV, DALI and FFCV, pinned, beside the
# PyTorch of peers.sh; the photographs that are measured with; and cmake and nasm, which build libjpeg-turbo.
#
# DALI and FFCV may fail to install (FFCV is built from source and needs OpenCV's and libjpeg-turbo's headers): a file `why-not-NAME`
# then says why, and their rows do.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/deploy/setup/peers.sh"
target=$root/.tools/peers-data
pinned=(torchvision==0.28.0 pillow==13.0.0 opencv-python-headless==5.0.0.93 scikit-image==0.26.0 scikit-learn==1.9.1)
dali=(nvidia-dali-cuda130==2.4.0)
ffcv=(ffcv==1.0.2)
cmake=(cmake==4.4.5)
debian=(opencv-doc plasma-workspace-wallpapers nasm)
say() { printf 'setup: %s\n' "$*"; }
# A folder of packages needs neither venv (Debian's python3-venv) nor root.
install() {
  local folder=$1
  shift
  python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-compile --target "$folder" "$@"
}

wanted="${pinned[*]} ${dali[*]} ${ffcv[*]} ${cmake[*]} ${debian[*]}"
if [ "$(cat "$target/.complete" 2>/dev/null)" = "$wanted" ]; then
  say "torchvision, OpenCV, DALI and FFCV for benchmarks are in place"
  exit 0
fi
rm -rf "$target"
mkdir -p "$target/debian"
say "torchvision, OpenCV and photographs for benchmarks: downloading (1 GB on disk)"
# Without dependencies: PyTorch and numpy come from peers.sh, and of the last two only the photographs are wanted.
install "$target/packages" --no-deps "${pinned[@]}"
(
  cd "$target/debian"
  # apt drops root's rights for downloads.
  apt-get -qq -o Debug::NoLocking=1 -o APT::Sandbox::User=root download "${debian[@]}"
  for package in *.deb; do dpkg-deb -x "$package" . && rm "$package"; done
)
install "$target/cmake" "${cmake[@]}"
for name in dali ffcv; do
  declare -n packages=$name
  say "${packages[*]} for benchmarks: downloading"
  install "$target/$name" "${packages[@]}" >"$target/log" 2>&1 && continue
  # The first line that names an error; pip's own frame around it does not.
  grep -E '(Error|Exception): ' "$target/log" | head -1 | sed 's/^ *//' >"$target/why-not-$name" || true
  [ -s "$target/why-not-$name" ] || echo "pip failed without naming an error" >"$target/why-not-$name"
  rm -rf "${target:?}/$name"
  say "$name cannot be installed: $(cat "$target/why-not-$name")"
done
rm -f "$target/log"
echo "$wanted" >"$target/.complete"
say "peers of the data path: ready"
