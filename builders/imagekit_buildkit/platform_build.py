"""The image for one platform: base and context in, one solve, the result out."""

from __future__ import annotations

from collections.abc import Mapping

from imagekit.builder import BuilderContext, BuiltImage, BuiltLayer, ExecutedStep
from imagekit.errors import BuildFailedError
from imagekit.oci import model
from imagekit.plan import BuildDockerfile, LayoutSource, Plan, PlatformPlan
from imagekit.records import dataclass
from imagekit.redaction import Redactor
from imagekit_buildkit.attestations import attestations_of, attests
from imagekit_buildkit.base import is_pulled, with_layout
from imagekit_buildkit.context import write_context
from imagekit_buildkit.docker_cli import csv_line
from imagekit_buildkit.documents import config, manifest
from imagekit_buildkit.exported import OUTPUT, prepare, read_export
from imagekit_buildkit.instance import Connection
from imagekit_buildkit.layer_titles import layer_titles
from imagekit_buildkit.loaded import TemporaryNames, load_base, read_loaded
from imagekit_buildkit.lowering import lower
from imagekit_buildkit.made import Made
from imagekit_buildkit.progress_log import ProgressLog
from imagekit_buildkit.recipe import BASE, Recipe
from imagekit_buildkit.secret_flags import proxy_flags, secret_flags
from imagekit_buildkit.solve import Solve, run
from imagekit_buildkit.workspace import Workspace, workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformResult:
    """What one platform became."""

    image: BuiltImage
    attestations: tuple[model.Descriptor, ...]
    steps: tuple[ExecutedStep, ...]
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformBuild:
    """Builds platforms of *plan*, one at a time.

    Attributes:
        redact: takes the values of secrets out of texts.
        environ: where secrets and proxies are looked for.
    """

    context: BuilderContext
    plan: Plan
    connection: Connection
    redact: Redactor
    environ: Mapping[str, str]

    def run(self, platform: PlatformPlan) -> PlatformResult:
        """Return the image for *platform*; its blobs are in the store."""
        try:
            return self._run(platform)
        except BuildFailedError as error:
            # In a user's Dockerfile, nobody knows which line of Python wanted a step.
            own = [step for step in platform.steps if isinstance(step, BuildDockerfile)]
            if own and own[0].origin:
                error.at(str(own[0].origin))
            raise

    def _run(self, platform: PlatformPlan) -> PlatformResult:
        with workspace(self.context.store) as place:
            recipe = lower(self.plan, self._with_base(platform, place))
            write_context(recipe, place.context, self.context.wheels)
            log = ProgressLog(
                recipe,
                contexts=frozenset({BASE} if _is_named(recipe) else ()),
                number=place.id,
                progress=self.context.progress,
                redact=self.redact,
            )
            route = self._exported if self.connection.exports else self._loaded
            image = self._image(platform, route(recipe, place, log), log)
            wanted = attests(self.context.execution)
            return PlatformResult(
                image=image,
                attestations=attestations_of(place.output, image, self.context.store)
                if wanted
                else (),
                steps=log.steps(platform.platform),
                log=log.text(),
            )

    def _with_base(self, platform: PlatformPlan, place: Workspace) -> PlatformPlan:
        base = platform.base
        if base is None or is_pulled(base, self.context, self.connection):
            return platform
        return with_layout(platform, place.layout, self.context)

    def _exported(self, recipe: Recipe, place: Workspace, log: ProgressLog) -> Made:
        """Solve, and take the result as an OCI layout."""
        prepare(place.output, recipe.base)
        named = None
        if recipe.base is not None and _is_named(recipe):
            named = f"oci-layout://{place.layout.name}@{recipe.base.manifest}"
        self._solve(recipe, place, log, output=OUTPUT, base=named)
        return read_export(
            place.output, recipe.platform, recipe.base, self.context.store
        )

    def _loaded(self, recipe: Recipe, place: Workspace, log: ProgressLog) -> Made:
        """Solve, and take the result out of the engine's classic image store."""
        docker, base = self.connection.docker, recipe.base
        with TemporaryNames(docker, self.context.store, place) as names:
            named = None
            if base is not None:
                named = load_base(base, place.layout, names.base, docker, self.context)
            output = csv_line(["type=docker", f"name={names.result}"])
            self._solve(recipe, place, log, output=output, base=named)
            return read_loaded(
                names.result, base, docker, self.context.store, self.plan.created
            )

    def _solve(
        self,
        recipe: Recipe,
        place: Workspace,
        log: ProgressLog,
        *,
        output: str,
        base: str | None,
    ) -> None:
        execution = self.context.execution
        flags = [
            *secret_flags(recipe, execution, self.environ),
            *proxy_flags(execution, self.environ),
        ]
        solve = Solve(
            recipe=recipe, execution=execution, output=output, base=base, secrets=flags
        )
        run(solve, self.connection, place, log, self.redact)

    def _image(
        self, platform: PlatformPlan, made: Made, log: ProgressLog
    ) -> BuiltImage:
        """Write the documents of an image, and describe it."""
        store = self.context.store
        own = platform.base is None
        instructions = log.texts_of_layers() if own else log.titles_of_layers()
        titles = layer_titles(made.history, len(made.layers), instructions)
        layers = (
            *(
                BuiltLayer(descriptor=layer, title=f"base {number}", reused=True)
                for number, layer in enumerate(made.base, 1)
            ),
            *(
                BuiltLayer(
                    descriptor=layer, title=title, reused=layer.digest in made.reused
                )
                for layer, title in zip(made.layers, titles, strict=True)
            ),
        )
        content = config(self.plan, platform, made, titles)
        described = model.Descriptor(
            media_type=model.CONFIG, digest=store.add_blob(content), size=len(content)
        )
        document = manifest(self.plan, platform, described, layers)
        return BuiltImage(
            platform=platform.platform,
            manifest=store.add_blob(document),
            manifest_size=len(document),
            config=described.digest,
            config_size=described.size,
            layers=layers,
        )


def _is_named(recipe: Recipe) -> bool:
    """Return whether the base is given as a named context."""
    return recipe.base is not None and isinstance(recipe.base.source, LayoutSource)
