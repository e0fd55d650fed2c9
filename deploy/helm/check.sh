#!/usr/bin/env bash
# Renders the chart with Helm for every file in cases/, and holds what comes out against the schemas of Kubernetes; what is wrong in a
# values file must be refused by its name.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
tools=$(cd ../.. && pwd)/.tools/helm
helm=$tools/helm
fail() { printf 'helm: %s\n' "$*" >&2; exit 1; }
[ -x "$helm" ] || fail "there is no $helm: run deploy/setup/helm.sh"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$helm" lint --strict --quiet kindred
for case in cases/*.yaml; do
  name=$(basename "$case" .yaml)
  "$helm" template kin kindred --namespace ml --values "$case" >"$folder/$name.yaml"
  for version in 1.29.0 1.35.0; do
    PYTHONPATH=$tools/python python3 objects.py "$folder/$name.yaml" "$version" | sed "s/^/helm: $name: /"
  done
done

refused() { # WORDS OPTION...
  local words=$1 said
  shift
  said=$("$helm" template kin kindred "$@" 2>&1 >/dev/null) && fail "accepted: $*"
  grep -qF -- "$words" <<<"$said" || fail "$*: the message does not say '$words': $said"
}
refused "coordinator.replicas: several coordinators need a database" --set coordinator.replicas=2
refused "additional properties 'replcas' not allowed" --set coordinator.replcas=2
refused "'/tls/mode'" --set tls.mode=maybe
refused "'/checkpoints/store'" --set checkpoints.store=bucket
refused "'/pools/0/gpus'" --set-json 'pools=[{"name":"a","gpus":"many"}]'
refused "pools: two are named cpu" --set-json "pools=$(python3 - "$tools/python" <<'PYTHON'
import json, sys
sys.path.insert(0, sys.argv[1])
import yaml
pool = yaml.safe_load(open("kindred/values.yaml"))["pools"][0]
print(json.dumps([pool, pool]))
PYTHON
)"
printf 'helm: mistakes are refused by name\n'
