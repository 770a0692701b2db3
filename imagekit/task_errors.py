"""What can go wrong when tasks run.

::

    BaseRuntimeError (RuntimeError)      root; never raised itself
    ├─ InitializationError               something has to be set up first
    ├─ RuntimeSystemError                the machine, the engine or imagekit failed
    │   └─ WorkerLostError               a container went away without a word
    ├─ RuntimeUnknownError               nobody knows why
    └─ RuntimeUserError                  the task, its inputs or its definition failed
        ├─ OOMError                      it took more memory than it may
        ├─ TaskInterruptedError          it was killed from outside
        ├─ TaskTimeoutError              it ran, or waited, for too long
        ├─ RetriesExhaustedError
        ├─ RuntimeDataValidationError    a value is not of its type
        ├─ InlineIOMaxBytesBreached      inputs or outputs are too large
        ├─ NotInTaskContextError
        ├─ ModuleLoadError               the task's code can't be loaded
        ├─ DeploymentError
        ├─ ImageBuildError               the task's image can't be built
        ├─ ImagePullBackOffError
        ├─ InvalidImageNameError
        ├─ PrimaryContainerNotFoundError
        ├─ ReferenceTaskError
        ├─ RunAbortedError               the run was stopped
        ├─ NonRecoverableError           raised by users: no retry will help
        └─ CustomError                   an exception whose class is not known here

The names are those of ``flyte.errors``. What a task itself raises is raised again as
it is, with its own class, wherever the task ran.
"""

from __future__ import annotations

from imagekit.errors import ImageKitError

__all__ = [
    "BaseRuntimeError",
    "CustomError",
    "DeploymentError",
    "ImageBuildError",
    "ImagePullBackOffError",
    "InitializationError",
    "InlineIOMaxBytesBreached",
    "InvalidImageNameError",
    "ModuleLoadError",
    "NonRecoverableError",
    "NotInTaskContextError",
    "OOMError",
    "PrimaryContainerNotFoundError",
    "ReferenceTaskError",
    "RetriesExhaustedError",
    "RunAbortedError",
    "RuntimeDataValidationError",
    "RuntimeSystemError",
    "RuntimeUnknownError",
    "RuntimeUserError",
    "TaskInterruptedError",
    "TaskTimeoutError",
    "WorkerLostError",
]


class BaseRuntimeError(ImageKitError, RuntimeError):
    """Root of the errors of running tasks; never raised itself."""


class InitializationError(BaseRuntimeError):
    """Something has to be set up first, with ``init()`` or a setting."""


class RuntimeSystemError(BaseRuntimeError):
    """The machine, the engine or imagekit failed; not the task."""


class WorkerLostError(RuntimeSystemError):
    """The process that ran the task went away without saying why."""


class RuntimeUnknownError(BaseRuntimeError):
    """Nobody knows why it failed."""


class RuntimeUserError(BaseRuntimeError):
    """The task, its inputs or its definition failed."""


class OOMError(RuntimeUserError):
    """The task took more memory than its resources allow."""


class TaskInterruptedError(RuntimeUserError):
    """The task was killed from outside."""


class TaskTimeoutError(RuntimeUserError):
    """The task ran, or waited to run, for longer than its timeout allows."""


class RetriesExhaustedError(RuntimeUserError):
    """The last attempt failed; its error is the cause."""


class RuntimeDataValidationError(RuntimeUserError):
    """An input or output is not of the type that the signature gives."""


class InlineIOMaxBytesBreached(RuntimeUserError):  # noqa: N818  (the reference's name)
    """Inputs or outputs are larger than ``max_inline_io_bytes``."""


class NotInTaskContextError(RuntimeUserError):
    """Something that only works inside a running task was called outside."""


class ModuleLoadError(RuntimeUserError):
    """The module of a task can't be loaded, or has no such task."""


class DeploymentError(RuntimeUserError):
    """Environments can't be deployed as asked."""


class ImageBuildError(RuntimeUserError):
    """The image of a task can't be built; the cause says why."""


class ImagePullBackOffError(RuntimeUserError):
    """The image of a task can't be pulled."""


class InvalidImageNameError(RuntimeUserError):
    """The image of a task is no image's name."""


class PrimaryContainerNotFoundError(RuntimeUserError):
    """A pod template has no container of the name that it calls primary."""


class ReferenceTaskError(RuntimeUserError):
    """A task that is only referred to can't be run here."""


class RunAbortedError(RuntimeUserError):
    """The run was stopped."""


class NonRecoverableError(RuntimeUserError):
    """Raised by tasks that know that no retry will help."""


class CustomError(RuntimeUserError):
    """An exception of a task whose class can't be found here.

    Attributes:
        kind: module and name of its class.
    """

    def __init__(
        self, message: str, *, kind: str = "Exception", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
