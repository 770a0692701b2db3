"""What ``deploy()`` and a run on a cluster share: from environments to its objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from imagekit.cluster.configured_pods import pod_options
from imagekit.cluster.names import UNPINNED
from imagekit.cluster.namespaces import namespace_of
from imagekit.deployed_images import ImageDeployer
from imagekit.deployment_plan import DeploymentPlan, plan_deployments
from imagekit.errors import ImageKitError
from imagekit.progress import Progress, silent
from imagekit.records import dataclass, replace
from imagekit.runtime_files import runtime_tree

if TYPE_CHECKING:
    from imagekit.bundle import Bundle
    from imagekit.cluster.api import Cluster
    from imagekit.cluster.applying import Applied
    from imagekit.cluster.documents import EnvironmentDocument
    from imagekit.cluster.pod_options import PodOptions
    from imagekit.deployed_images import DeployedImage
    from imagekit.environment import Environment
    from imagekit.initialization import Configuration
    from imagekit.settings import Settings

Json: TypeAlias = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a deployment has made.

    Attributes:
        plans: what was deployed, with images by digest.
        images: environment to its image with the code.
        applied: what became of each object.
    """

    plans: tuple[DeploymentPlan, ...]
    images: Mapping[str, DeployedImage]
    applied: tuple[Applied, ...] = ()

    @property
    def uploaded(self) -> int:
        """Bytes that were sent to registries, without manifests."""
        return sum({id(i): i.uploaded for i in self.images.values()}.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploying:
    """Deploys environments with one bundle of code.

    Attributes:
        namespace: of the objects; None leaves it to the kubeconfig.
        options: what all pods have in common.
    """

    deployer: ImageDeployer
    options: PodOptions
    namespace: str | None
    settings: Settings
    configuration: Configuration
    progress: Progress = silent

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        *,
        settings: Settings,
        configuration: Configuration,
        progress: Progress = silent,
    ) -> Deploying:
        """Return what deploys *bundle* as the settings say.

        Raises:
            SettingsError: Kubernetes has nothing that is called what is set.
        """
        return cls(
            deployer=ImageDeployer(
                bundle=bundle,
                runtime=runtime_tree(),
                settings=settings,
                progress=progress,
            ),
            options=pod_options(settings),
            namespace=namespace_of(settings, configuration),
            settings=settings,
            configuration=configuration,
            progress=progress,
        )

    def plan(
        self, environments: Iterable[Environment], version: str | None = None
    ) -> list[DeploymentPlan]:
        """Return what would be deployed, a plan for each environment; touch nothing.

        Raises:
            ImageKitError: see :func:`imagekit.deployment_plan.plan_deployments`.
        """
        return plan_deployments(
            environments,
            deployer=self.deployer,
            options=self.options,
            version=version,
        )

    def manifests(
        self, plans: Sequence[DeploymentPlan], *, pinned: bool
    ) -> tuple[Json, ...]:
        """Return the objects of *plans*, those that point to others last.

        Args:
            plans: what is deployed.
            pinned: whether the images are named by digest.

        Raises:
            DeploymentError: a task can't be a pod as it is defined.
        """
        from imagekit.cluster.manifests import (  # noqa: PLC0415  (only to deploy)
            current_object,
            environment_objects,
        )

        objects: dict[tuple[str, str], Json] = {}
        current = [current_object(document) for document in _current(plans)]
        for plan in plans:
            parts = zip(plan.environments, plan.documents, strict=True)
            for environment, document in parts:
                try:
                    made = environment_objects(document, self.options)
                except ImageKitError as error:
                    error.at(str(environment.origin))
                    raise
                objects |= {(it["kind"], it["metadata"]["name"]): it for it in made}
        found = (*objects.values(), *current)
        for item in found:
            self._place(item, pinned=pinned)
        return found

    def carry_out(self, plans: Sequence[DeploymentPlan]) -> Outcome:
        """Push the images, and have the cluster hold the objects.

        Raises:
            InitializationError: there is no registry or no cluster to deploy to.
            ImageBuildError: an image can't be built or pushed.
            DeploymentError: the environments can't be deployed as asked.
            ClusterError: the cluster refuses, or can't be reached.
        """
        from imagekit.cluster.applying import apply_objects  # noqa: PLC0415  (slow)

        self.deployer.check(_environments(plans))
        cluster = self.cluster()
        self._ask(cluster, plans)
        pushed = self.push(plans)
        objects = self.manifests(pushed.plans, pinned=True)
        applied = apply_objects(cluster, objects, progress=self.progress)
        return replace(pushed, applied=applied)

    def push(self, plans: Sequence[DeploymentPlan]) -> Outcome:
        """Push the images, and apply nothing.

        Raises:
            InitializationError: there is no registry to push to.
            ImageBuildError: an image can't be built or pushed.
        """
        every = _environments(plans)
        self.deployer.check(every)
        images = self.deployer.deploy(every)
        return Outcome(
            plans=tuple(plan.with_images(images) for plan in plans), images=images
        )

    def cluster(self) -> Cluster:
        """Return access to the cluster.

        Raises:
            InitializationError: there is no kubeconfig, or it can't be used.
        """
        from imagekit.cluster.client import client_cluster  # noqa: PLC0415  (slow)

        return client_cluster(self.settings, self.configuration)

    def _ask(self, cluster: Cluster, plans: Sequence[DeploymentPlan]) -> None:
        """Have the cluster say now what it would say once everything is built."""
        from imagekit.cluster.asking import ask_for  # noqa: PLC0415  (only to deploy)

        origins = {
            task.template: task.origin
            for plan in plans
            for document in plan.documents
            for task in document.tasks
        }
        ask_for(cluster, self.manifests(plans, pinned=False), origins)

    def _place(self, item: Json, *, pinned: bool) -> None:
        metadata = item["metadata"]
        if self.namespace is not None:
            metadata["namespace"] = self.namespace
        if not pinned:
            annotations = metadata.setdefault("annotations", {})
            annotations[UNPINNED] = "true"


def _environments(plans: Sequence[DeploymentPlan]) -> tuple[Environment, ...]:
    found = {item.name: item for plan in plans for item in plan.environments}
    return tuple(found.values())


def _current(plans: Sequence[DeploymentPlan]) -> list[EnvironmentDocument]:
    """Return the versions that become current, one for each environment.

    It is that of its own plan, else the least of those of plans that it is a part of:
    in whatever order the plans come.
    """
    own = {plan.documents[0].name: plan.documents[0] for plan in plans}
    found: dict[str, EnvironmentDocument] = {}
    for plan in sorted(plans, key=lambda plan: plan.version):
        for document in plan.documents:
            found.setdefault(document.name, own.get(document.name, document))
    return list(found.values())
