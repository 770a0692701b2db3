"""The builders: a plan to an image, by one solve a platform."""

from __future__ import annotations

import os
from pathlib import Path

from imagekit.builder import Builder, BuilderContext, Built, DockerfileWriter
from imagekit.errors import BuilderUnavailableError, UnsupportedLayerError
from imagekit.plan import Plan
from imagekit.redaction import Redactor
from imagekit.secret_values import secret_environment
from imagekit_buildkit.attestations import attests
from imagekit_buildkit.context import write_context
from imagekit_buildkit.documents import index
from imagekit_buildkit.endpoint import Endpoint, EngineEndpoint, remote_endpoint
from imagekit_buildkit.instance import Connection, connect
from imagekit_buildkit.lowering import lower
from imagekit_buildkit.platform_build import PlatformBuild
from imagekit_buildkit.recipe import Recipe
from imagekit_buildkit.secret_flags import secret_texts


class BuildKitBuilder:
    """Builds images with the BuildKit of the local Docker engine."""

    def __init__(self, context: BuilderContext) -> None:
        self._context = context
        self._connection: Connection | None = None

    @property
    def name(self) -> str:
        """The name of the entry point."""
        return "buildkit"

    @property
    def installs_inside(self) -> bool:
        """Distributions are installed with uv."""
        return True

    def check(self, plan: Plan) -> None:
        """Raise UnsupportedLayerError if a step can't be made by BuildKit."""
        for platform in plan.platforms:
            lower(plan, platform)

    def build(self, plan: Plan) -> Built:
        """Make the image, one platform after the other.

        Raises:
            PlanError: a secret has no value.
            BuilderUnavailableError: no BuildKit answers, or it went away.
            BuildFailedError: a step failed.
        """
        environ = secret_environment(self._context.execution.secrets_dir)
        recipes = [lower(plan, platform) for platform in plan.platforms]
        redact = Redactor(secret_texts(recipes, environ))
        connection = self._connected()
        self._check_attestations(connection)
        job = PlatformBuild(
            context=self._context,
            plan=plan,
            connection=connection,
            redact=redact,
            environ=environ,
        )
        results = [job.run(platform) for platform in plan.platforms]
        images = tuple(result.image for result in results)
        attestations = [item for result in results for item in result.attestations]
        content = None
        digest = images[0].manifest
        if len(images) > 1 or attestations:
            content = index(plan, images, attestations)
            digest = self._context.store.add_blob(content)
        return Built(
            digest=digest,
            index=content,
            images=images,
            steps=tuple(step for result in results for step in result.steps),
            log="".join(result.log for result in results),
        )

    def dockerfile(self, plan: Plan) -> str:
        """Return the Dockerfile of a plan for one platform. Fetches nothing."""
        return self._only(plan, standalone=True).dockerfile

    def write_context(self, plan: Plan, folder: Path) -> str:
        """Write the Dockerfile and the files that it copies into *folder*."""
        recipe = self._only(plan, standalone=False)
        write_context(recipe, folder, self._context.wheels)
        return recipe.dockerfile

    def _only(self, plan: Plan, *, standalone: bool) -> Recipe:
        if len(plan.platforms) != 1:
            found = ", ".join(str(item.platform) for item in plan.platforms)
            raise UnsupportedLayerError(
                f"a Dockerfile is for one platform, found {found}",
                hint="choose one with --platform",
            )
        return lower(plan, plan.platforms[0], standalone=standalone)

    def _endpoint(self) -> Endpoint:
        return EngineEndpoint()

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = connect(
                self._endpoint(),
                folder=self._context.store.root / "buildx",
                environ=os.environ,
            )
        return self._connection

    def _check_attestations(self, connection: Connection) -> None:
        if attests(self._context.execution) and not connection.exports:
            raise BuilderUnavailableError(
                f"{connection.endpoint} makes no SBOM and no provenance: its images "
                "are in the classic image store",
                hint="switch the engine to the containerd image store, use the builder "
                "'remote', or leave out --sbom and --provenance",
            )


class RemoteBuilder(BuildKitBuilder):
    """Builds images with a BuildKit elsewhere: ``context.execution.remote``."""

    @property
    def name(self) -> str:
        """The name of the entry point."""
        return "remote"

    def _endpoint(self) -> Endpoint:
        return remote_endpoint(self._context.execution)


def _conforms(context: BuilderContext) -> tuple[Builder, DockerfileWriter]:
    builder = RemoteBuilder(context)
    return builder, builder  # checked by mypy: the class satisfies the protocols
