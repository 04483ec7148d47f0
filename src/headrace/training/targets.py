"""``[target.NAME]`` of the project file: where versions are put, and as what. `kind` says which of these it is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from headrace.training.datasets import Function, Section

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")]
"""A name as Kubernetes and others take it (RFC 1123)."""
OptionalName = Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?\Z")]
Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./:@-]{0,254}\Z")]
Quantity = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi)?\Z")]
Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class TargetSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all kinds have. `image` names the image, with ``{model}`` and ``{version}`` in it, and `base` the one below
    it; `build` is false where something else builds and sends it. `folder` is where the files of a deployment are
    written, relative to the project. `url` is where the endpoint answers, from here: then the golden rows are asked
    there. `wait` is how long that may take."""

    image: str = ""
    base: str = ""
    platform: Literal["linux/amd64", "linux/arm64"] = "linux/amd64"
    build: bool = True
    folder: str = "deploy/{model}"
    url: str = ""
    wait: str = "5m"


class ProcessTarget(TargetSection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="process"):
    """A scoring server on this machine, kept alive by systemd (`manager`), of the `user` or of the `system`, which runs
    it as `account`; with ``none`` it is started here, and nobody starts it again."""

    host: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.:-]{1,253}\Z")] = "127.0.0.1"
    port: Port = 8000
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    manager: Literal["systemd", "none"] = "systemd"
    scope: Literal["user", "system"] = "user"
    account: Annotated[str, msgspec.Meta(pattern=r"^[a-z_][a-z0-9_-]{0,31}\Z|^\Z")] = ""
    wait: str = "1m"


class KubernetesTarget(TargetSection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="kubernetes"):
    """A Deployment with what belongs to it: from `replicas` to `most` pods, by the use of their processors."""

    namespace: Name = "default"
    context: str = ""
    replicas: Count = 2
    most: Count = 10
    cpu: Quantity = "500m"
    memory: Quantity = "512Mi"
    cpu_percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 70
    prometheus_operator: bool = False


class KServeTarget(TargetSection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="kserve"):
    """An InferenceService of KServe."""

    namespace: Name = "default"
    context: str = ""
    replicas: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 1
    most: Count = 10
    cpu: Quantity = "500m"
    memory: Quantity = "512Mi"


class SageMakerTarget(TargetSection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sagemaker"):
    """A real-time endpoint of Amazon SageMaker; `role` is the ARN that it runs as."""

    region: Name
    role: Annotated[str, msgspec.Meta(pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+\Z")]
    endpoint: OptionalName = ""
    instance: Word = "ml.m5.large"
    instances: Count = 1


class VertexTarget(TargetSection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="vertex"):
    """An endpoint of Vertex AI, by its number; `project` and `region` are Google's."""

    project: Word
    region: Name
    endpoint: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}\Z")]
    machine: Word = "n1-standard-2"
    replicas: Count = 1
    most: Count = 3


class AzureTarget(TargetSection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="azureml"):
    """A managed online endpoint of Azure ML, in a workspace of a resource group."""

    workspace: Word
    group: Word
    endpoint: OptionalName = ""
    instance: Word = "Standard_DS2_v2"
    instances: Count = 1


class OwnTarget(TargetSection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="own"):
    """Whatever the project's own `function` makes of it: it is called with the deployment and `options`, and gives
    files and commands."""

    function: Function
    options: dict[str, Any] = {}


Target = ProcessTarget | KubernetesTarget | KServeTarget | SageMakerTarget | VertexTarget | AzureTarget | OwnTarget
KINDS: dict[str, type[TargetSection]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        *(ProcessTarget, KubernetesTarget, KServeTarget, SageMakerTarget, VertexTarget, AzureTarget),
        OwnTarget,
    )
}


def kind_of(section: TargetSection) -> str:
    """What the project file calls this kind of target."""
    return str(section.__struct_config__.tag)


class DeploySection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[model.NAME.deploy]``: on which events its version is put on which of the project's targets, one after the
    other. ``promoted`` is a version that became live."""

    on: tuple[Literal["promoted"], ...] = ()
    targets: tuple[str, ...] = ()
