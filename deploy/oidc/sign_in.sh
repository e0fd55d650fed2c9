#!/usr/bin/env bash
# Signs somebody in at a real OpenID provider with the real programs: device flow, roles by group, silent renewal, a provider that is away, sign-out.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/deploy/setup/oidc_provider.sh"
cd "$root"
cargo build -p kindred-coordinator --bins --locked --quiet
programs=${CARGO_TARGET_DIR:-$root/target}/debug
export OIDC_PROVIDER_MODULES=$root/.tools/oidc
work=$(mktemp -d)
coordinator='' provider=''
say() { printf 'sign-in: %s\n' "$*"; }
fail() {
  printf 'sign-in: %s\n' "$*" >&2
  cat "$work"/*.log >&2
  exit 1
}
stop() {
  for process in $coordinator $provider; do
    kill "$process" 2>/dev/null && wait "$process" || true
  done
  rm -rf "$work"
}
trap stop EXIT
# Waits until a file holds something.
holds() {
  for _ in $(seq 200); do
    grep -q "$2" "$1" 2>/dev/null && return
    sleep 0.1
  done
  fail "$1 never held $2"
}

# Tokens are good for 40 s, and renewed after two thirds of that.
node deploy/oidc/provider.mjs 40 >"$work/issuer" 2>"$work/provider.log" &
provider=$!
holds "$work/issuer" '^http'
issuer=$(head -n 1 "$work/issuer")
cat >"$work/oidc.yaml" <<END
issuers:
  - url: $issuer
    client_id: kindred
    name_claim: preferred_username
    grants: [{group: vision, role: submitter, project: vision}]
END
"$programs/kindred-coordinator" --listen 127.0.0.1:0 --tls auto --oidc "$work/oidc.yaml" --state "$work/state" 2>"$work/coordinator.log" &
coordinator=$!
holds "$work/state/admin-token" kindred_
unset KINDRED_TOKEN KINDRED_TOKEN_FILE
export XDG_CONFIG_HOME=$work/config KINDRED_COORDINATOR KINDRED_TLS_CA=$work/state/tls/ca.pem
KINDRED_COORDINATOR=$(cat "$work/state/address")
kindred=$programs/kindred

# NAME: signs in, as somebody with a browser does.
sign_in() {
  : >"$work/login.log"
  "$kindred" login 2>"$work/login.log" &
  local login=$!
  holds "$work/login.log" 'and enter'
  local url code
  url=$(sed -n 's/^open \([^ ]*\) and enter .*/\1/p' "$work/login.log")
  code=$(sed -n 's/^open .* and enter \(.*\)/\1/p' "$work/login.log")
  python3 deploy/oidc/browser.py "$url" "$code" "$1" >>"$work/browser.log" || fail "$1 cannot sign in"
  wait "$login"
}

sign_in ada || fail "ada is not signed in"
grep -q 'signed in as ada: submitter of vision' "$work/login.log" || fail "ada has not the role of her group"
session=$(echo "$work"/config/kindred/sessions/*.json)
[ "$(stat -c %a "$session")" = 600 ] || fail "others may read $session"
[ "$("$kindred" submit deploy/jobs/sce-fashion-mnist.yaml)" = job-1 ] || fail "ada cannot submit"
"$kindred" nodes join-token 2>"$work/refused.log" && fail "ada lets nodes join"
grep -q 'your role is submitter, and this takes admin' "$work/refused.log" || fail "the refusal does not say why"
say "ada signed in, and may do what her group may"

first=$(sed -n 's/.*"id_token": "\(.*\)".*/\1/p' "$session")
forged=${first%????}AAAA
KINDRED_TOKEN=$forged "$kindred" jobs 2>"$work/refused.log" && fail "a forged token is taken"
grep -q 'signature does not hold' "$work/refused.log" || fail "the refusal does not say why"
say "a forged token is refused"

say "waiting until her token is due"
renewed() {
  "$kindred" whoami >"$work/who.log" 2>&1 || fail "whoami fails"
  [ "$(sed -n 's/.*"id_token": "\(.*\)".*/\1/p' "$session")" != "$first" ]
}
for _ in $(seq 45); do
  renewed && break
  sleep 1
done
renewed || fail "the token was never renewed"
grep -q '^name *ada' "$work/who.log" || fail "whoami does not know ada"
say "the sign-in was renewed without a word"

second=$(sed -n 's/.*"id_token": "\(.*\)".*/\1/p' "$session")
"$kindred" logout 2>"$work/logout.log"
grep -q 'signed out' "$work/logout.log" || fail "the provider was not told"
[ ! -e "$session" ] || fail "the sign-in is still there"
"$kindred" jobs 2>"$work/refused.log" && fail "calls are made after the sign-out"
grep -q 'kindred login' "$work/refused.log" || fail "the refusal does not say how to sign in"
say "ada signed out"

if sign_in bob; then fail "bob, who is in no group of ours, may do something"; fi
grep -q 'none of the groups of bob has a role here ("others")' "$work/login.log" || fail "bob is not told why"
say "bob is told that his groups have no role"

kill "$provider" && wait "$provider" || true
provider=''
KINDRED_TOKEN=$second "$kindred" whoami >"$work/who.log" 2>&1 || fail "a known key does not do while the provider is away"
say "the provider is away, and who signed in does not notice"
