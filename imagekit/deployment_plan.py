"""What a deployment of environments consists of, worked out without touching anything.

The version names all of it: the code, the images, how each task runs, and what all pods
have in common. It is the same on every machine, in every checkout, and for every run of
Python.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from imagekit.canonical import fingerprint
from imagekit.deployed_images import image_identity
from imagekit.deployment_documents import environment_document, with_version
from imagekit.environment_images import (
    check_names,
    checked_environments,
    image_of,
    with_dependencies,
)
from imagekit.records import dataclass, replace
from imagekit.task_environment import TaskEnvironment

if TYPE_CHECKING:
    from imagekit.cluster.documents import EnvironmentDocument
    from imagekit.cluster.pod_options import PodOptions
    from imagekit.deployed_images import DeployedImage, ImageDeployer
    from imagekit.environment import Environment

#: Hex digits of a version.
_DIGITS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPlan:
    """One environment, with all that it depends on, and what they would be.

    Attributes:
        environments: the one that was asked for first.
        images: environment to what names its image and every byte of it.
        documents: what the cluster is told of each environment, in the same order.
        version: the version of all of it.
    """

    environments: tuple[Environment, ...]
    images: Mapping[str, str]
    documents: tuple[EnvironmentDocument, ...]
    version: str

    @property
    def tasks(self) -> tuple[str, ...]:
        """Full names of the tasks."""
        return tuple(
            name
            for item in self.environments
            if isinstance(item, TaskEnvironment)
            for name in item.tasks
        )

    def with_images(self, images: Mapping[str, DeployedImage]) -> DeploymentPlan:
        """Return this plan with images by digest, now that they are known."""
        documents = tuple(
            replace(
                item, image=replace(item.image, reference=images[item.name].reference)
            )
            for item in self.documents
        )
        references = {name: images[name].reference for name in self.images}
        return replace(self, documents=documents, images=references)


def plan_deployments(
    environments: Iterable[Environment],
    *,
    deployer: ImageDeployer,
    options: PodOptions,
    version: str | None,
) -> list[DeploymentPlan]:
    """Return a plan for each of *environments*; their images are named by tags.

    Args:
        environments: those that were asked for.
        deployer: has the code, and names the images.
        options: what all pods have in common.
        version: the version, in place of what would be computed.

    Raises:
        DeploymentError: two environments have one name.
        ImageKitError: a task can't be deployed, or a file that an image needs is not
            there.
    """
    roots = checked_environments(environments)
    every = with_dependencies(roots)
    check_names(every)
    named = deployer.named(every)
    images = {item.name: image_identity(image_of(item)) for item in every}
    documents = {
        item.name: environment_document(
            item, deployer.document(item, named[item.name]), deployer.bundle
        )
        for item in every
    }
    plans = []
    for root in roots:
        own = with_dependencies([root])
        parts = tuple(documents[item.name] for item in own)
        found = version or _version(parts, options)
        plans.append(
            DeploymentPlan(
                environments=own,
                images={item.name: images[item.name] for item in own},
                documents=tuple(with_version(part, found) for part in parts),
                version=found,
            )
        )
    return plans


def _version(documents: Iterable[EnvironmentDocument], options: PodOptions) -> str:
    described = sorted(json.dumps(item.to_json(), sort_keys=True) for item in documents)
    shared = json.dumps(options.to_json(), sort_keys=True)
    return fingerprint("deployment", (tuple(described), shared))[:_DIGITS]
