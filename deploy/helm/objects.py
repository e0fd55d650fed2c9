#!/usr/bin/env python3
# Holds rendered objects against the schemas of a version of Kubernetes, strictly, and checks what these cannot: objects.py FILE VERSION
import sys

import kubernetes_validate
import yaml

# Of other projects, whose schemas are not among Kubernetes' own.
FOREIGN = {"cert-manager.io/v1", "keda.sh/v1alpha1", "monitoring.coreos.com/v1"}


def pods(thing):
    return thing.get("spec", {}).get("template", {}).get("spec", {})


def check_pod(name, pod):
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in pod.get("claims", [])}
    for container in pod.get("initContainers", []) + pod["containers"]:
        for mount in container["volumeMounts"]:
            assert mount["name"] in volumes, f"{name}: no volume {mount['name']}"
        security = container["securityContext"]
        assert security["runAsNonRoot"] and security["readOnlyRootFilesystem"], name
        assert security["capabilities"]["drop"] == ["ALL"], name
        assert "memory" in container["resources"]["requests"], name
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", name


def selects(selector, things):
    wanted = selector.get("matchLabels", {}).items()
    labels = (thing["spec"]["template"]["metadata"]["labels"] for thing in things if pods(thing))
    return [found for found in labels if wanted <= found.items()]


def main(path, version):
    things = [thing for thing in yaml.safe_load_all(open(path)) if thing]
    names = set()
    n_foreign = 0
    for thing in things:
        name = f"{thing['kind']}/{thing['metadata']['name']}"
        assert name not in names, f"two are {name}"
        names.add(name)
        if thing["apiVersion"] in FOREIGN:
            n_foreign += 1
        else:
            kubernetes_validate.validate(thing, version, strict=True)
        if pods(thing):
            pod = dict(pods(thing), claims=thing["spec"].get("volumeClaimTemplates", []))
            check_pod(name, pod)
            assert len(selects(thing["spec"]["selector"], things)) == 1, f"{name} selects other pods than its own"
        if thing["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
            selector = thing["spec"].get("selector") or thing["spec"].get("podSelector")
            assert selects(selector, things), f"{name} selects nothing"
    print(f"{len(things) - n_foreign} objects hold for Kubernetes {version}, {n_foreign} are of other projects")


main(*sys.argv[1:])
