"""What ``deploy()`` and a run on a cluster share: from environments to its objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from imagekit.cluster.namespaces import namespace_of
from imagekit.cluster.pod_options import PodOptions
from imagekit.deployed_images import ImageDeployer
from imagekit.deployment_plan import DeploymentPlan, plan_deployments
from imagekit.progress import Progress, silent
from imagekit.records import dataclass, replace
from imagekit.runtime_files import runtime_tree

if TYPE_CHECKING:
    from imagekit.bundle import Bundle
    from imagekit.cluster.api import Cluster
    from imagekit.cluster.applying import Applied
    from imagekit.deployed_images import DeployedImage
    from imagekit.environment import Environment
    from imagekit.initialization import Configuration
    from imagekit.settings import Settings

Json: TypeAlias = Any

#: The annotation of objects whose image is named by a tag, not by its digest.
UNPINNED = "imagekit/unpinned"


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
            SettingsError: no namespace can be called what is set.
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
        current: dict[str, Json] = {}
        # An environment's own deployment says which version is current, else the last.
        for own in (False, True):
            for plan in plans:
                documents = plan.documents[:1] if own else plan.documents
                for document in documents:
                    current[document.name] = current_object(document)
        for plan in plans:
            for document in plan.documents:
                for item in environment_objects(document, self.options):
                    objects[item["kind"], item["metadata"]["name"]] = item
        found = (*objects.values(), *current.values())
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
        for item in self.manifests(plans[:1], pinned=False)[-1:]:
            cluster.apply(item, dry_run=True)

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


def pod_options(settings: Settings) -> PodOptions:
    """Return what all pods have in common."""
    return PodOptions(
        service_account=settings.service_account or "",
        image_pull_secrets=settings.pull_secrets,
    )
