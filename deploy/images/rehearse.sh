#!/usr/bin/env bash
# Does what deploy/images/Dockerfile says without a container engine, as root, and trains a job with what comes out.
#
#   deploy/images/rehearse.sh [FOLDER]
#
# One that was stopped goes on after the last line that was done, if it has the same FOLDER.
#
# Each stage is a root file system of its own below FOLDER (a temporary one), made by debootstrap; its lines are read from the Dockerfile and done
# by chroot: so it is these files that are tested, line by line. A line of a kind that is not known here is an error. Three things differ from an
# engine: the Rust toolchain is this machine's (RUSTUP_HOME, CARGO_HOME), with the crates that it has fetched; authorities that this
# machine trusts are trusted; and RUN_WITH, if it is set, is put before every RUN (a queue for heavy commands, say).
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[ "$(id -u)" = 0 ] || { echo "rehearse: root is needed, for chroot" >&2; exit 2; }
# Mounts of its own, which are gone when it ends.
[ -n "${KINDRED_REHEARSES:-}" ] || KINDRED_REHEARSES=1 exec unshare --mount --propagation private "$0" "$@"

given=${1:-}
folder=${given:-$(mktemp -d)}
[ -n "$given" ] || trap 'rm -rf --one-file-system "$folder"' EXIT
mkdir -p "$folder"
dockerfile=$repository/deploy/images/Dockerfile
context=$folder/context
rustup=${RUSTUP_HOME:-$HOME/.rustup} cargo=${CARGO_HOME:-$HOME/.cargo}
declare -A arguments=([PROFILE]=cpu)
say() { printf '\nrehearse: %s\n' "$*"; }
fail() { printf 'rehearse: %s\n' "$*" >&2; exit 1; }

bare_root() {
  [ -e "$folder/bare.complete" ] && return
  say "a bare Debian"
  rm -rf "$folder/bare"
  debootstrap --variant=minbase bookworm "$folder/bare" >"$folder/debootstrap.log" || fail "see $folder/debootstrap.log"
  cp -a /usr/local/share/ca-certificates/. "$folder/bare/usr/local/share/ca-certificates/" 2>/dev/null || true
  # As in Debian's images, which leave out what a container does not read.
  cp /etc/resolv.conf "$folder/bare/etc/resolv.conf"
  touch "$folder/bare.complete"
}

# What an engine sends it: the files under version control.
make_context() {
  rm -rf "$context"
  mkdir -p "$context"
  git -C "$repository" ls-files --cached --others --exclude-standard -z |
    (cd "$repository" && xargs -0 tar --create --ignore-failed-read) | tar --extract -C "$context"
}

mounted() { # ROOT COMMAND...: runs a command in a root file system
  local root=$1
  shift
  for path in /dev /proc; do
    mkdir -p "$root$path"
    mountpoint -q "$root$path" || mount --rbind "$path" "$root$path"
  done
  "$@"
}

# shellcheck disable=SC2086 # words of a Dockerfile's line
build_stage() { # NAME
  local root=$folder/$1 workdir=/ keyword rest kept=() image n=0 past
  past=$(cat "$root.done" 2>/dev/null || echo 0)
  say "stage $1"
  [ "$past" != 0 ] || rm -rf --one-file-system "$root"
  image=$(sed -nE "s/^FROM (.*) AS $1\$/\1/p" "$dockerfile")
  case $image in
    scratch) mkdir -p "$root" ;;
    debian:*) [ -d "$root" ] || cp -a "$folder/bare" "$root" ;;
    rust:*)
      [ -d "$root" ] || cp -a "$folder/bare" "$root"
      mkdir -p "$root$rustup" "$root$cargo"
      mount --bind "$rustup" "$root$rustup"
      mount --bind "$cargo" "$root$cargo"
      kept=("RUSTUP_HOME=$rustup" "CARGO_HOME=$cargo" "PATH=$cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") ;;
    *) fail "no idea of the image '$image'" ;;
  esac
  while read -r keyword rest; do
    n=$((n + 1))
    case $keyword in
      COPY | RUN) [ "$n" -gt "$past" ] || continue ;;
    esac
    case $keyword in
      '#'* | '' | USER | VOLUME | EXPOSE | ENTRYPOINT | CMD) ;;
      ARG) kept+=("${rest%%=*}=${arguments[${rest%%=*}]}") ;;
      ENV) kept+=("$rest") ;;
      WORKDIR) workdir=$rest; mkdir -p "$root$workdir" ;;
      COPY) copy "$root" "$workdir" $rest ;;
      RUN)
        say "$1: RUN $rest"
        mounted "$root" ${RUN_WITH:-} chroot "$root" env "${kept[@]}" sh -ec "cd $workdir; $rest" </dev/null ;;
      *) fail "no idea of '$keyword $rest'" ;;
    esac
    [ "$n" -le "$past" ] || echo "$n" >"$root.done"
  done < <(awk -v stage="$1" '/^FROM/ { inside = $NF == stage; next } inside' "$dockerfile")
}

copy() { # ROOT WORKDIR [--from=STAGE] SOURCE... TARGET
  local root=$1 workdir=$2 from=$context
  shift 2
  case $1 in --from=*) from=$folder/${1#--from=}; shift ;; esac
  local sources=("${@:1:$#-1}") target=${*: -1}
  case $target in /*) target=$root$target ;; *) target=$root$workdir/$target ;; esac
  mkdir -p "$target"
  for source in "${sources[@]}"; do
    if [ -d "$from/$source" ]; then cp -a "$from/$source/." "$target"; else cp -a "$from/$source" "$target"; fi
  done
}

bare_root
make_context
build_stage build
build_stage coordinator
build_stage worker
du -sh --one-file-system "$folder/coordinator" "$folder/worker" | sed 's/^/rehearse: /'

say "a job in them, as the images' user"
data=$repository/.kindred/data
[ -d "$data/fashion-mnist" ] || "$repository/deploy/setup/fashion_mnist.sh"
mkdir -p "$folder/worker/data"
mount --bind "$(realpath "$data")" "$folder/worker/data"
in_image() { # STAGE COMMAND...
  local stage=$1
  shift
  mounted "$folder/$stage" true
  chroot --userspec=65532:65532 "$folder/$stage" "$@"
}
pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
}
trap 'stop; [ -n "$given" ] || rm -rf --one-file-system "$folder"' EXIT
mounted "$folder/coordinator" true
mounted "$folder/worker" true
chroot --userspec=65532:65532 "$folder/coordinator" /usr/local/bin/kindred-coordinator --state /var/lib/kindred \
  --listen 127.0.0.1:0 --tls auto 2>"$folder/coordinator.log" &
pids+=($!)
state=$folder/coordinator/var/lib/kindred
for _ in $(seq 100); do [ -s "$state/address" ] && [ -s "$state/admin-token" ] && break; sleep 0.1; done
kindred() {
  in_image coordinator /usr/local/bin/kindred --coordinator "$(cat "$state/address")" --tls-ca /var/lib/kindred/tls/ca.pem \
    --token-file /var/lib/kindred/admin-token "$@"
}
for worker in 1 2; do
  join=$(kindred nodes join-token 2>/dev/null)
  LD_LIBRARY_PATH=/usr/local/lib/kindred chroot --userspec=65532:65532 "$folder/worker" /usr/local/bin/kindred-worker \
    --state "/var/lib/kindred/$worker" --jobs-dir /var/lib/kindred/jobs --data-root /data --join "$join" 2>"$folder/worker-$worker.log" &
  pids+=($!)
done
kindred submit - --watch --set recipe.training.epochs=1 --set recipe.data.limit=8192 <"$repository/deploy/jobs/sce-fashion-mnist.yaml"
say "the job has finished"
