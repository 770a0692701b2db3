"""A task that was deployed, as those know it who don't have its code."""

from __future__ import annotations

from imagekit.cluster.documents import EnvironmentDocument, ImageDocument, TaskDocument
from imagekit.records import dataclass
from imagekit.run_events import Json
from imagekit.values import inline_size


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedEnvironment:
    """The environment of a deployed task.

    Attributes:
        image: name and digest.
    """

    name: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedInterface:
    """The inputs and the output of a deployed task."""

    description: Json

    def describe(self) -> Json:
        """Return what tells it from others."""
        return self.description

    def size(self, document: Json) -> int:
        """Return how many bytes of *document* are inline, rather than files."""
        return inline_size(document)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedTask:
    """A task without its code: :class:`imagekit.running.attempt.RunnableTask`.

    Attributes:
        document: what was deployed.
        image: the image of its environment.
        func: none; only its own pods have the code.
    """

    document: TaskDocument
    image: ImageDocument
    environment: DeployedEnvironment
    interface: DeployedInterface
    func: None = None

    @classmethod
    def of(cls, environment: EnvironmentDocument, task: TaskDocument) -> DeployedTask:
        """Return a task of *environment*."""
        return cls(
            document=task,
            image=environment.image,
            environment=DeployedEnvironment(
                name=environment.name, image=environment.image.reference
            ),
            interface=DeployedInterface(description=task.interface),
        )

    @property
    def name(self) -> str:
        """Full name."""
        return self.document.name

    @property
    def called(self) -> str:
        """What its module is called where it was deployed."""
        return self.document.called

    @property
    def is_async(self) -> bool:
        """Whether the function is async."""
        return self.document.is_async

    @property
    def origin(self) -> str:
        """``file:line`` of the definition, where it was deployed."""
        return self.document.origin
