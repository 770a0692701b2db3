"""The documents that objects on a cluster hold: environments, runs, calls, results.

They are JSON, and read by programs of other versions of imagekit: a document of another
format than this one's is refused, never guessed at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from imagekit.records import compared, dataclass
from imagekit.task_errors import RuntimeSystemError
from imagekit.task_settings import TaskSettings

Json: TypeAlias = Any

#: Format of all documents here.
FORMAT = 1
#: Where objects hold them.
DOCUMENT = "document.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDocument:
    """The image of an environment, with runtime and code.

    Attributes:
        reference: name and digest: ``registry/name@sha256:…``.
        identity: names the environment's own image and all bytes of it, without the
            runtime and the code that were put on top; results are kept under it.
        python: the interpreter in it.
        runtime: folder in it with imagekit; empty if the interpreter finds one anyway.
        code: folder in it with the code; empty if modules are found anyway.
        paths: folders in it that modules are found in, beside *code*.
        workdir: where tasks run; None for what the image says.
    """

    reference: str
    identity: str = ""
    python: str
    runtime: str
    code: str
    paths: tuple[str, ...] = ()
    workdir: str | None = None

    def to_json(self) -> Json:
        """Return what :meth:`from_json` reads."""
        return {**_fields(self), "paths": list(self.paths)}

    @classmethod
    def from_json(cls, document: Json) -> ImageDocument:
        """Return the image that :meth:`to_json` wrote."""
        return cls(**{**document, "paths": tuple(document["paths"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDocument:
    """A task, as far as it can be known without its code.

    Attributes:
        name: full name, ``environment.function``.
        module: the task's module: its name, or the path of a file below the code.
        called: what the module is called where it was deployed.
        settings: with the version of its cache.
        interface: see :meth:`imagekit.interface.Interface.describe`.
        defaults: inputs that may be left out, encoded, by name.
        template: name of its pod template.
        origin: ``file:line`` of the definition.
    """

    name: str
    module: str
    called: str
    settings: TaskSettings
    interface: Json
    defaults: Json
    is_async: bool
    template: str
    origin: str
    docs: str = ""

    def to_json(self) -> Json:
        """Return what :meth:`from_json` reads."""
        return {**_fields(self), "settings": self.settings.to_json()}

    @classmethod
    def from_json(cls, document: Json) -> TaskDocument:
        """Return the task that :meth:`to_json` wrote."""
        settings = TaskSettings.from_json(document["settings"])
        return cls(**{**document, "settings": settings})


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentDocument:
    """A version of an environment.

    Attributes:
        name: name of the environment.
        version: of all of it: the code, the image, how tasks run.
        code: digest of the code bundle.
        tasks: its tasks, by name.
        depends_on: names of the environments whose tasks its tasks may call; all have
            the same version.
    """

    name: str
    version: str
    code: str
    image: ImageDocument
    tasks: tuple[TaskDocument, ...]
    depends_on: tuple[str, ...] = ()
    description: str = ""

    def task(self, name: str) -> TaskDocument | None:
        """Return the task of a full name; None if there is none."""
        return next((item for item in self.tasks if item.name == name), None)

    def to_json(self) -> Json:
        """Return what :meth:`from_json` reads."""
        return {
            "format": FORMAT,
            **_fields(self),
            "image": self.image.to_json(),
            "tasks": [item.to_json() for item in self.tasks],
            "depends_on": list(self.depends_on),
        }

    @classmethod
    def from_json(cls, document: Json) -> EnvironmentDocument:
        """Return the environment that :meth:`to_json` wrote.

        Raises:
            RuntimeSystemError: another version of imagekit wrote it.
        """
        values = _checked(document, "an environment")
        values["image"] = ImageDocument.from_json(values["image"])
        values["tasks"] = tuple(map(TaskDocument.from_json, values["tasks"]))
        values["depends_on"] = tuple(values["depends_on"])
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDocument:
    """A run, and what all its tasks have in common.

    Attributes:
        name: names it among all runs.
        task: full name of the task that it is of.
        version: version of the code.
        environments: names of environments to names of the objects that describe them.
        started: seconds since the epoch.
        raw_data_path: where large data is kept: an fsspec URL, a folder that pods see,
            or ``pvc://CLAIM/PATH``; empty if there is no such place.
        most: how many Jobs one task may have at a time.
        service_account: account of its pods; empty for the templates' own.
        env_vars: variables of all tasks, before their own.
        overwrite_cache: whether results are computed though they are known.
        use_cache: whether results are looked up and kept at all.
        interruptible: whether all tasks are; None leaves it to them.
    """

    name: str
    task: str
    version: str
    environments: Mapping[str, str]
    started: float
    raw_data_path: str = ""
    most: int = 100
    service_account: str = ""
    project: str | None = None
    domain: str | None = None
    org: str | None = None
    env_vars: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    overwrite_cache: bool = False
    use_cache: bool = True
    interruptible: bool | None = None
    interactive: bool = False

    def to_json(self) -> Json:
        """Return what :meth:`from_json` reads."""
        pairs = {name: [list(pair) for pair in getattr(self, name)] for name in _PAIRS}
        return {
            "format": FORMAT,
            **_fields(self),
            **pairs,
            "environments": dict(self.environments),
        }

    @classmethod
    def from_json(cls, document: Json) -> RunDocument:
        """Return the run that :meth:`to_json` wrote.

        Raises:
            RuntimeSystemError: another version of imagekit wrote it.
        """
        values = _checked(document, "a run")
        for name in _PAIRS:
            values[name] = tuple((key, value) for key, value in values[name])
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDocument:
    """A call of a task, which a pod runs.

    Attributes:
        run: name of the run.
        action: id of the call in the run.
        attempt: number of the attempt to run; 0 for all attempts, as the settings have
            it.
        task: full name.
        settings: of the task, as the caller overrode them, with the run's variables.
        inputs: encoded, by parameter name.
        caller: name of the call object of what calls; empty for the run's own task.
    """

    run: str
    action: str
    attempt: int
    task: str
    settings: TaskSettings
    inputs: Json
    caller: str = ""

    @property
    def environment(self) -> str:
        """Name of the task's environment."""
        return self.task.rpartition(".")[0]

    def to_json(self) -> Json:
        """Return what :meth:`from_json` reads."""
        return {
            "format": FORMAT,
            **_fields(self),
            "settings": self.settings.to_json(),
        }

    @classmethod
    def from_json(cls, document: Json) -> CallDocument:
        """Return the call that :meth:`to_json` wrote.

        Raises:
            RuntimeSystemError: another version of imagekit wrote it.
        """
        values = _checked(document, "a call")
        values["settings"] = TaskSettings.from_json(values["settings"])
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultDocument:
    """What became of a call.

    Attributes:
        output: what the task returned, encoded; of no meaning if there is an *error*.
        error: what it raised, as :func:`imagekit.failures.encode_failure` writes it.
        events: what happened in the call since its last journal, as
            :func:`imagekit.runtime.messages.event_json` writes it, oldest first.
        journals: how many journals come before these events.
        pod: name of the pod that ran it.
    """

    output: Json
    error: Json
    events: tuple[Json, ...]
    journals: int
    pod: str

    def to_json(self) -> Json:
        """Return what :meth:`from_json` reads."""
        return {"format": FORMAT, **_fields(self), "events": list(self.events)}

    @classmethod
    def from_json(cls, document: Json) -> ResultDocument:
        """Return the result that :meth:`to_json` wrote.

        Raises:
            RuntimeSystemError: another version of imagekit wrote it.
        """
        values = _checked(document, "a result")
        values["events"] = tuple(values["events"])
        return cls(**values)


_PAIRS = ("env_vars", "labels", "annotations")


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in compared(record)}


def _checked(document: Json, what: str) -> dict[str, Any]:
    """Return the fields of a document of this format."""
    values = dict(document) if isinstance(document, Mapping) else {}
    found = values.pop("format", None)
    if found != FORMAT:
        raise RuntimeSystemError(
            f"wanted the description of {what} in format {FORMAT}, found {found!r}",
            hint="another version of imagekit wrote it: deploy it again with this one",
        )
    return values
