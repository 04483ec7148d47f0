"""A Deployment on Kubernetes, and what belongs to it, as kustomize reads it: a base for the model, an overlay for each
target.

What the pods may do is little: they run as nobody, write nothing, know no token of the cluster, and open no connection.
"""

from __future__ import annotations

from typing import Any

from headrace.delivery.containerfile import PORT, USER
from headrace.delivery.targets.target import Command, Deployable, Rendered, document, label
from headrace.delivery.watching import alert_rules
from headrace.kernel.clock import parse_duration
from headrace.training.targets import KServeTarget, KubernetesTarget

IMAGE = "headrace-version"
"""What the base calls the image; overlays say which it is."""
UID = int(USER.partition(":")[0])
KINDS = ("serviceaccount", "deployment", "service", "autoscaler", "disruption", "network")


def kubernetes(it: Deployable, section: KubernetesTarget) -> Rendered:
    """The manifests of a version, and how kubectl puts them there."""
    name, here = label(it.model), f"overlays/{it.target}"
    files = {f"base/{kind}.yaml": document(content) for kind, content in _base(name).items()}
    files["base/kustomization.yaml"] = document(
        {**_kustomize("Kustomization"), "resources": [f"{kind}.yaml" for kind in KINDS]}
    )
    files["monitoring/kustomization.yaml"] = document(
        {**_kustomize("Component"), "resources": ["servicemonitor.yaml", "rules.yaml"]}
    )
    files["monitoring/servicemonitor.yaml"] = document(_service_monitor(name))
    files["monitoring/rules.yaml"] = document(_rules(name))
    files[f"{here}/kustomization.yaml"] = document(_overlay(name, it, section))
    kubectl = ("kubectl", *(("--context", section.context) if section.context else ()))
    seconds = int(parse_duration(section.wait).total_seconds())
    watch = ("rollout", "status", f"deployment/{name}", "--namespace", section.namespace, f"--timeout={seconds}s")
    return Rendered(
        files=files,
        put=(
            Command(words=(*kubectl, "apply", "--kustomize", here)),
            Command(words=(*kubectl, *watch)),
        ),
        back=(Command(words=(*kubectl, "delete", "--ignore-not-found", "--kustomize", here)),),
        address=section.url,
    )


def kserve(it: Deployable, section: KServeTarget) -> Rendered:
    """An InferenceService of a version; KServe moves the traffic once it is ready."""
    name = label(it.model, 50)
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": section.namespace,
            "labels": {**_labels(name), "app.kubernetes.io/version": str(it.version)},
            "annotations": _annotations(it),
        },
        "spec": {
            "predictor": {
                "minReplicas": section.replicas,
                "maxReplicas": max(section.replicas, section.most),
                "containers": [
                    {
                        "name": "kserve-container",
                        "image": it.image,
                        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
                        "readinessProbe": _probe("/ready", PORT, 2),
                        "resources": _resources(section.cpu, section.memory),
                        "securityContext": _security(),
                    }
                ],
            }
        },
    }
    kubectl = ("kubectl", *(("--context", section.context) if section.context else ()))
    seconds = int(parse_duration(section.wait).total_seconds())
    where = ("--namespace", section.namespace)
    ready = ("wait", "--for=condition=Ready", f"inferenceservice/{name}", *where, f"--timeout={seconds}s")
    file = f"{it.target}/inferenceservice.yaml"
    return Rendered(
        files={file: document(service)},
        put=(Command(words=(*kubectl, "apply", "--filename", file)), Command(words=(*kubectl, *ready))),
        back=(Command(words=(*kubectl, "delete", "--ignore-not-found", "--filename", file)),),
        address=section.url,
    )


def _base(name: str) -> dict[str, Any]:
    """What is the same wherever the model is put."""
    chosen = {"app.kubernetes.io/name": name}
    return {
        "serviceaccount": {**_head("v1", "ServiceAccount", name), "automountServiceAccountToken": False},
        "deployment": {**_head("apps/v1", "Deployment", name), "spec": _deployment(name, chosen)},
        "service": {
            **_head("v1", "Service", name),
            "spec": {"selector": chosen, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
        "autoscaler": {
            **_head("autoscaling/v2", "HorizontalPodAutoscaler", name),
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "minReplicas": 2,
                "maxReplicas": 10,
                "metrics": [_processor_use(70)],
            },
        },
        "disruption": {
            **_head("policy/v1", "PodDisruptionBudget", name),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": chosen}},
        },
        "network": {
            **_head("networking.k8s.io/v1", "NetworkPolicy", name),
            "spec": {
                "podSelector": {"matchLabels": chosen},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"ports": [{"port": PORT, "protocol": "TCP"}]}],
                "egress": [],
            },
        },
    }


def _deployment(name: str, chosen: dict[str, str]) -> dict[str, Any]:
    return {
        "selector": {"matchLabels": chosen},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {"labels": chosen},
            "spec": {
                "serviceAccountName": name,
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 30,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": chosen},
                    }
                ],
                "containers": [
                    {
                        "name": "scoring",
                        "image": IMAGE,
                        "args": ["serve"],
                        "ports": [{"name": "http", "containerPort": PORT}],
                        "startupProbe": {**_probe("/health", "http", 1), "failureThreshold": 60},
                        "readinessProbe": _probe("/ready", "http", 2),
                        "livenessProbe": _probe("/health", "http", 10),
                        "securityContext": _security(),
                    }
                ],
            },
        },
    }


def _overlay(name: str, it: Deployable, section: KubernetesTarget) -> dict[str, Any]:
    """Which version this target has, and how much of it."""
    image, _, digest = it.image.partition("@")
    path, _, last = image.rpartition("/")
    last, _, tag = last.partition(":")
    pinned = {"digest": digest} if digest else {"newTag": tag or "latest"}
    marks = {"metadata": {"labels": {"app.kubernetes.io/version": str(it.version)}, "annotations": _annotations(it)}}
    pods = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **marks["metadata"]},
        "spec": {
            "template": {
                **marks,
                "spec": {
                    "containers": [{"name": "scoring", "resources": _resources(section.cpu, section.memory)}],
                },
            }
        },
    }
    scale = {
        **_head("autoscaling/v2", "HorizontalPodAutoscaler", name),
        "spec": {
            "minReplicas": section.replicas,
            "maxReplicas": max(section.replicas, section.most),
            "metrics": [_processor_use(section.cpu_percent)],
        },
    }
    watched = {"components": ["../../monitoring"]} if section.prometheus_operator else {}
    return {
        **_kustomize("Kustomization"),
        "namespace": section.namespace,
        "resources": ["../../base"],
        **watched,
        "images": [{"name": IMAGE, "newName": f"{path}/{last}" if path else last, **pinned}],
        "patches": [{"patch": document(pods)}, {"patch": document(scale)}],
    }


def _service_monitor(name: str) -> dict[str, Any]:
    return {
        **_head("monitoring.coreos.com/v1", "ServiceMonitor", name),
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "endpoints": [{"port": "http", "path": "/metrics", "interval": "15s"}],
        },
    }


def _rules(name: str) -> dict[str, Any]:
    return {**_head("monitoring.coreos.com/v1", "PrometheusRule", name), "spec": alert_rules()}


def _kustomize(kind: str) -> dict[str, Any]:
    group = "kustomize.config.k8s.io/v1alpha1" if kind == "Component" else "kustomize.config.k8s.io/v1beta1"
    return {"apiVersion": group, "kind": kind}


def _head(version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": _labels(name)}}


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "headrace"}


def _annotations(it: Deployable) -> dict[str, str]:
    return {"headrace.io/version": it.reference, "headrace.io/bundle": it.digest}


def _probe(path: str, port: int | str, seconds: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": seconds, "timeoutSeconds": 2}


def _resources(cpu: str, memory: str) -> dict[str, Any]:
    """What is asked for; the memory is a limit too, the processor is not: a limit there only makes answers late."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}


def _security() -> dict[str, Any]:
    return {
        "runAsUser": UID,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def _processor_use(percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}
