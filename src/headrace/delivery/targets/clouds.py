"""Endpoints of the clouds: what describes them there, and the words of their own programs that put them there.

`aws`, `gcloud` and `az` know the account and hold its secrets; Headrace sees neither.
"""

from __future__ import annotations

import json
from typing import Any

from headrace.delivery.containerfile import PORT
from headrace.delivery.targets.target import Command, Deployable, Rendered, document, label
from headrace.training.targets import AzureTarget, SageMakerTarget, VertexTarget


def sagemaker(it: Deployable, section: SageMakerTarget) -> Rendered:
    """A real-time endpoint of SageMaker, which keeps its earlier version until the new one is in service.

    Sources: the service's CreateModel, CreateEndpointConfig, CreateEndpoint and UpdateEndpoint.
    """
    endpoint = section.endpoint or label(it.model)
    name = f"{label(it.model, 45)}-{it.version}-{it.digest[:8]}"
    tags = [{"Key": "headrace.io/version", "Value": it.reference}, {"Key": "headrace.io/bundle", "Value": it.digest}]
    files = {
        "model.json": {
            "ModelName": name,
            "PrimaryContainer": {"Image": it.image},
            "ExecutionRoleArn": section.role,
            "EnableNetworkIsolation": True,
            "Tags": tags,
        },
        "endpoint-config.json": {
            "EndpointConfigName": name,
            "ProductionVariants": [
                {
                    "VariantName": "live",
                    "ModelName": name,
                    "InstanceType": section.instance,
                    "InitialInstanceCount": section.instances,
                }
            ],
            "Tags": tags,
        },
        "endpoint.json": {"EndpointName": endpoint, "EndpointConfigName": name},
    }
    aws = ("aws", "sagemaker", "--region", section.region)

    def given(file: str) -> str:
        return f"file://{it.target}/{file}"

    here, config = ("--endpoint-name", endpoint), ("--endpoint-config-name", name)
    make = (*aws, "create-endpoint", "--cli-input-json", given("endpoint.json"))
    return Rendered(
        files={f"{it.target}/{file}": _json(content) for file, content in files.items()},
        put=(
            Command(
                known=(*aws, "describe-model", "--model-name", name),
                words=(*aws, "create-model", "--cli-input-json", given("model.json")),
            ),
            Command(
                known=(*aws, "describe-endpoint-config", *config),
                words=(*aws, "create-endpoint-config", "--cli-input-json", given("endpoint-config.json")),
            ),
            Command(
                known=(*aws, "describe-endpoint", *here),
                instead=(*aws, "update-endpoint", *here, *config),
                words=make,
            ),
            Command(words=(*aws, "wait", "endpoint-in-service", *here)),
        ),
        back=(Command(words=(*aws, "delete-endpoint", *here)),),
        address=section.url,
    )


def vertex(it: Deployable, section: VertexTarget) -> Rendered:
    """A model in Vertex AI's registry, and on an endpoint, which then sends all traffic to it.

    `upload.json` and `deploy.json` are the same as bodies of its REST API (models.upload, endpoints.deployModel).
    """
    model = f"{label(it.model, 45)}-{it.version}-{it.digest[:8]}"
    shown = f"{it.model} {it.version}"
    place = f"projects/{section.project}/locations/{section.region}"
    routes = {"healthRoute": "/ready", "predictRoute": "/predict"}
    upload = {
        "modelId": model,
        "model": {
            "displayName": shown,
            "labels": {"headrace-version": str(it.version), "headrace-model": label(it.model)},
            "containerSpec": {"imageUri": it.image, "args": ["serve"], "ports": [{"containerPort": PORT}], **routes},
        },
    }
    most = max(section.replicas, section.most)
    scale = {"minReplicaCount": section.replicas, "maxReplicaCount": most}
    deploy = {
        "deployedModel": {
            "model": f"{place}/models/{model}",
            "displayName": shown,
            "dedicatedResources": {"machineSpec": {"machineType": section.machine}, **scale},
        },
        "trafficSplit": {"0": 100},
    }
    gcloud = ("gcloud", "ai")
    where = (f"--project={section.project}", f"--region={section.region}")
    return Rendered(
        files={f"{it.target}/upload.json": _json(upload), f"{it.target}/deploy.json": _json(deploy)},
        put=(
            Command(
                known=(*gcloud, "models", "describe", model, *where),
                words=(
                    *(*gcloud, "models", "upload", *where, f"--model-id={model}", f"--display-name={shown}"),
                    *(f"--container-image-uri={it.image}", "--container-args=serve", f"--container-ports={PORT}"),
                    *("--container-health-route=/ready", "--container-predict-route=/predict"),
                ),
            ),
            Command(
                words=(
                    *(*gcloud, "endpoints", "deploy-model", section.endpoint, *where, f"--model={model}"),
                    *(f"--display-name={shown}", f"--machine-type={section.machine}", "--traffic-split=0=100"),
                    *(f"--min-replica-count={section.replicas}", f"--max-replica-count={most}"),
                ),
            ),
        ),
        back=(Command(words=(*gcloud, "models", "delete", model, *where, "--quiet")),),
        address=section.url,
    )


def azureml(it: Deployable, section: AzureTarget) -> Rendered:
    """A deployment on a managed online endpoint of Azure ML, to which all traffic then goes."""
    endpoint = section.endpoint or label(it.model, 32)
    name = f"v{it.version}-{it.digest[:8]}"
    tags = {"headrace-version": it.reference, "headrace-bundle": it.digest}
    routes = {
        "liveness_route": {"port": PORT, "path": "/health"},
        "readiness_route": {"port": PORT, "path": "/ready"},
        "scoring_route": {"port": PORT, "path": "/predict"},
    }
    files = {
        "endpoint.yml": {"name": endpoint, "auth_mode": "key", "tags": {"headrace-model": it.model}},
        "deployment.yml": {
            "name": name,
            "endpoint_name": endpoint,
            "environment": {"image": it.image, "inference_config": routes},
            "instance_type": section.instance,
            "instance_count": section.instances,
            "tags": tags,
        },
    }
    az, where = ("az", "ml"), ("--workspace-name", section.workspace, "--resource-group", section.group)
    online, deployment = (*az, "online-endpoint"), (*az, "online-deployment")
    given = ("--file", f"{it.target}/deployment.yml")
    named = ("--name", name, "--endpoint-name", endpoint)
    return Rendered(
        files={f"{it.target}/{file}": document(content) for file, content in files.items()},
        put=(
            Command(
                known=(*online, "show", "--name", endpoint, *where),
                words=(*online, "create", "--file", f"{it.target}/endpoint.yml", *where),
            ),
            Command(
                known=(*deployment, "show", *named, *where),
                instead=(*deployment, "update", *given, *where),
                words=(*deployment, "create", *given, *where),
            ),
            Command(words=(*online, "update", "--name", endpoint, "--traffic", f"{name}=100", *where)),
        ),
        back=(Command(words=(*deployment, "delete", *named, "--yes", *where)),),
        address=section.url,
    )


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
