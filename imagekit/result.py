"""What a build gives back."""

from __future__ import annotations

from typing import Any, Self

from imagekit.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """A layer of the result.

    Attributes:
        size: bytes of the blob, compressed.
        reused: whether it was there already.
    """

    title: str
    digest: str
    size: int
    reused: bool
    platform: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """A step that an engine executed, or had executed before.

    Attributes:
        seconds: how long it took.
        cached: whether the engine still had its result.
    """

    title: str
    seconds: float
    cached: bool
    platform: str


class BuildResult(str):
    """The image's URI, with what is known of the image and of the build.

    Attributes:
        digest: digest of the index or manifest; None for an existing image that was
            not looked at.
        identifier: name of the definition.
        content_id: name of the definition and the bytes that it reads.
        platforms: what the image can run on.
        reused: whether nothing was built, because the image was there.
        builder: name of the builder; None if nothing was built.
        layers: the layers, base first; empty if nothing was built.
        pushed: references under which the image is in a registry now.
        outputs: where else it was written.
        uploaded: bytes sent to the registry.
        seconds: duration of the call.
        steps: what an engine executed for it.
        log: what the executed steps printed.
    """

    __slots__ = (
        "builder",
        "content_id",
        "digest",
        "identifier",
        "layers",
        "log",
        "outputs",
        "platforms",
        "pushed",
        "reused",
        "seconds",
        "steps",
        "uploaded",
    )

    digest: str | None
    identifier: str
    content_id: str | None
    platforms: tuple[str, ...]
    reused: bool
    builder: str | None
    layers: tuple[LayerReport, ...]
    pushed: tuple[str, ...]
    outputs: tuple[str, ...]
    uploaded: int
    seconds: float
    steps: tuple[StepReport, ...]
    log: str

    def __new__(
        cls,
        uri: str,
        *,
        identifier: str,
        digest: str | None = None,
        content_id: str | None = None,
        platforms: tuple[str, ...] = (),
        reused: bool = False,
        builder: str | None = None,
        layers: tuple[LayerReport, ...] = (),
        pushed: tuple[str, ...] = (),
        outputs: tuple[str, ...] = (),
        uploaded: int = 0,
        seconds: float = 0.0,
        steps: tuple[StepReport, ...] = (),
        log: str = "",
    ) -> Self:
        """Return the result whose text is *uri*."""
        result = super().__new__(cls, uri)
        result.identifier = identifier
        result.digest = digest
        result.content_id = content_id
        result.platforms = platforms
        result.reused = reused
        result.builder = builder
        result.layers = layers
        result.pushed = pushed
        result.outputs = outputs
        result.uploaded = uploaded
        result.seconds = seconds
        result.steps = steps
        result.log = log
        return result

    @property
    def uri(self) -> str:
        """The URI as a plain text."""
        return str(self)

    def as_json(self) -> dict[str, Any]:
        """Return everything as a JSON document."""
        layers = [
            {
                "title": layer.title,
                "digest": layer.digest,
                "size": layer.size,
                "reused": layer.reused,
                "platform": layer.platform,
            }
            for layer in self.layers
        ]
        steps = [
            {
                "title": step.title,
                "seconds": round(step.seconds, 3),
                "cached": step.cached,
                "platform": step.platform,
            }
            for step in self.steps
        ]
        return {
            "uri": self.uri,
            "digest": self.digest,
            "identifier": self.identifier,
            "content_id": self.content_id,
            "platforms": list(self.platforms),
            "reused": self.reused,
            "builder": self.builder,
            "layers": layers,
            "pushed": list(self.pushed),
            "outputs": list(self.outputs),
            "uploaded": self.uploaded,
            "seconds": round(self.seconds, 3),
            "steps": steps,
        }
