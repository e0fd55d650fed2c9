"""Asks a Prometheus for what it scraped, and runs each query of the rules and the dashboard on it."""

import json
import re
import sys
import time
import urllib.parse
import urllib.request

server, metrics = sys.argv[1:]


def query(expression):
    address = f"{server}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def scraped():
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            found = query('kindred_pending_devices{kind="cpu"}')
            if found:
                return found
        except OSError:
            pass
        time.sleep(0.2)
    sys.exit("Prometheus scraped nothing within a minute")


found = scraped()
assert found[0]["value"][1] == "2", found
assert query("kindred_build")[0]["metric"]["version"], "the build names its version"

with open("deploy/prometheus/grafana.json", encoding="utf-8") as file:
    panels = json.load(file)["panels"]
queries = [target["expr"].replace("$job", ".*") for panel in panels for target in panel["targets"]]
with open("deploy/prometheus/alerts.yaml", encoding="utf-8") as file:
    queries += re.findall(r"^ +expr: (.*)$", file.read(), re.MULTILINE)
# A metric of which there is no sample yet is not written down: the source has all names, each with whether it counts.
with open("coordinator/src/web/metrics.rs", encoding="utf-8") as file:
    source = file.read().split("#[cfg(test)]")[0]
known = set(re.findall(r'"(kindred_\w+)"', source))
with open(metrics, encoding="utf-8") as file:
    text = file.read()
counters = set(re.findall(r"^# TYPE (\w+) counter$", text, re.MULTILINE))
known = (known - counters) | {f"{name}_total" for name in counters}
for expression in queries:
    query(expression)
    for name in re.findall(r"\bkindred_\w+", expression):
        assert name in known, f"{name} of {expression!r} is not what the coordinator says"
unused = known - set(re.findall(r"kindred_\w+", " ".join(queries)))
print(f"{len(queries)} queries are answered; {len(known)} metrics, of which no query names {sorted(unused)}")
