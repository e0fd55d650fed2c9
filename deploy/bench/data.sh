#!/usr/bin/env bash
# Times MoCo v2's two views beside torchvision's, OpenCV's and DALI's, one core each, in turns; ends with a table of figures. Exit
# code 0 whatever was measured.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
deploy/setup/peers_data.sh
photos=$root/.kindred/bench-photos
for quality in 75 98; do
  [ -e "$photos/$quality/0127.jpg" ] ||
    PYTHONPATH=.tools/peers-data/packages:.tools/peers/packages python3 deploy/bench/photos.py \
      "$photos/$quality" "$quality" 128 .tools/peers-data/packages .tools/peers-data/debian
done
target=${CARGO_TARGET_DIR:-$root/target}/release/examples
cargo build --release --locked -p kindred-data --example bench_data
cp "$target/bench_data" "$target/bench_data_rust"
PATH=$root/.tools/peers-data/cmake/cmake/data/bin:$root/.tools/peers-data/debian/usr/bin:$PATH \
  cargo build --release --locked -p kindred-data --example bench_data --features turbojpeg
cp "$target/bench_data" "$target/bench_data_c"
python3 deploy/bench/data.py "$root/.tools" "$photos" "pure Rust=$target/bench_data_rust" "C decoder=$target/bench_data_c"
