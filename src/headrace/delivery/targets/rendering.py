"""From the kind of a target to the function that renders it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.delivery.targets.clouds import azureml, sagemaker, vertex
from headrace.delivery.targets.kubernetes import kserve, kubernetes
from headrace.delivery.targets.process import process
from headrace.delivery.targets.target import Deployable, Rendered
from headrace.kernel.errors import InvalidInput
from headrace.training.targets import OwnTarget, TargetSection, kind_of

RENDER: dict[str, Callable[[Deployable, Any], Rendered]] = {
    "process": process,
    "kubernetes": kubernetes,
    "kserve": kserve,
    "sagemaker": sagemaker,
    "vertex": vertex,
    "azureml": azureml,
}
WITHOUT_IMAGE = ("process",)
Own = Callable[[Deployable, OwnTarget], Rendered]


def rendered(it: Deployable, section: TargetSection, own: Own) -> Rendered:
    """The files and commands of a deployment.

    Args:
        own: calls the function of a project's own target.

    Raises:
        InvalidInput: the target lacks something.
    """
    if isinstance(section, OwnTarget):
        return own(it, section)
    return RENDER[kind_of(section)](it, section)


def image_of(section: TargetSection, target: str, model: str, version: int) -> str:
    """The name of the image that a target runs; empty where it runs none.

    Raises:
        InvalidInput: it needs one, and none is named.
    """
    kind = kind_of(section)
    if kind in WITHOUT_IMAGE or (kind == "own" and not section.image):
        return ""
    if not section.image:
        raise InvalidInput(
            f"Target {target} does not say what the image is called, from which it fetches it.",
            field="image",
            expected='such as image = "registry.example.com/{model}:{version}"',
            todo="Add it to the target, or say --set image=NAME.",
        )
    return section.image.format(model=model, version=version)
