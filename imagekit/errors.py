"""Every exception that imagekit raises.

::

    ImageKitError                      root; never raised itself
    ├─ DefinitionError (ValueError)    the image as written is invalid
    │   ├─ InvalidDigestError
    │   ├─ InvalidReferenceError
    │   ├─ InvalidPlatformError
    │   └─ InvalidLayerError
    ├─ ValidationError (ValueError)    all faults of an image at once: .faults
    ├─ SettingsError                   a configuration file or variable is wrong
    ├─ PlanError                       the image is valid, the world is not there
    │   ├─ SourceNotFoundError (FileNotFoundError)
    │   ├─ SourceUnreadableError
    │   ├─ SourceChangedError          a file changed between hashing and packing
    │   ├─ SourceEscapesError          a symlink or path leaves its tree
    │   ├─ BaseNotFoundError
    │   ├─ BaseUnsuitableError         no Python, no libc that wheels could target
    │   └─ ResolutionError             uv could not find a set of distributions
    │       ├─ ConflictError
    │       └─ NoWheelError            only an sdist, or no wheel for the platform
    ├─ BuilderError
    │   ├─ UnknownBuilderError (LookupError)
    │   ├─ BuilderUnavailableError
    │   ├─ UnsupportedLayerError
    │   └─ BuildFailedError
    ├─ DownloadError                   a wheel or index page could not be fetched
    │   └─ HashMismatchError
    ├─ RegistryError                   .status .code .method .url (redacted) .temporary
    │   └─ AuthenticationError
    ├─ LayoutError                     .issues: every fault of an OCI layout
    └─ StoreError                      the content store cannot be used (disk full, ...)

Messages are lower case and have no final period: what was wanted, what was found.
The hint is something a person can do. The origin is where the layer was written.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "BaseNotFoundError",
    "BaseUnsuitableError",
    "BuildFailedError",
    "BuilderError",
    "BuilderUnavailableError",
    "ConflictError",
    "DefinitionError",
    "DownloadError",
    "HashMismatchError",
    "ImageKitError",
    "InvalidDigestError",
    "InvalidLayerError",
    "InvalidPlatformError",
    "InvalidReferenceError",
    "LayoutError",
    "NoWheelError",
    "PlanError",
    "RegistryError",
    "ResolutionError",
    "SettingsError",
    "SourceChangedError",
    "SourceEscapesError",
    "SourceNotFoundError",
    "SourceUnreadableError",
    "StoreError",
    "UnknownBuilderError",
    "UnsupportedLayerError",
    "ValidationError",
]


class ImageKitError(Exception):
    """Root of all errors raised by imagekit; never raised itself.

    Attributes:
        message: what was wanted and what was found.
        hint: what a person can do about it, or None.
        origin: ``file:line`` of the definition at fault, or None.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, origin: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.origin = origin

    def at(self, origin: str | None) -> ImageKitError:
        """Return self, with *origin* filled in where none was known."""
        if self.origin is None:
            self.origin = origin
        return self

    def __str__(self) -> str:
        where = f" (defined at {self.origin})" if self.origin else ""
        return f"{self.message}{where}"


class DefinitionError(ImageKitError, ValueError):
    """The image as written is invalid; raised where it is written."""


class InvalidDigestError(DefinitionError):
    """A text is not ``sha256:`` and 64 lower-case hexadecimal digits."""


class InvalidReferenceError(DefinitionError):
    """A text is not an image reference, name or tag."""


class InvalidPlatformError(DefinitionError):
    """A text is not a platform that images are built for."""


class InvalidLayerError(DefinitionError):
    """A layer's arguments can't mean anything."""


class ValidationError(ImageKitError, ValueError):
    """An image has faults; all of them are in *faults*."""

    def __init__(self, faults: tuple[ImageKitError, ...]) -> None:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        hints = dict.fromkeys(fault.hint for fault in faults if fault.hint)
        super().__init__(
            f"the image has {count}:\n{lines}", hint="; ".join(hints) or None
        )
        self.faults = faults


class SettingsError(ImageKitError):
    """A configuration file, variable or argument is wrong."""


class PlanError(ImageKitError):
    """The image is valid, but what it needs is not there."""


class SourceNotFoundError(PlanError, FileNotFoundError):
    """A file or folder that a layer reads does not exist."""

    def __str__(self) -> str:
        return ImageKitError.__str__(self)


class SourceUnreadableError(PlanError):
    """A file or folder that a layer reads can't be read."""


class SourceChangedError(PlanError):
    """A file changed between hashing and packing."""


class SourceEscapesError(PlanError):
    """A path or symbolic link leaves the tree that it belongs to."""


class BaseNotFoundError(PlanError):
    """The base image does not exist, or not for the platform."""


class BaseUnsuitableError(PlanError):
    """The base image lacks what a layer needs (a Python, a known libc)."""


class ResolutionError(PlanError):
    """No set of distributions satisfies what the layers ask for."""


class ConflictError(ResolutionError):
    """Two layers ask for distributions that exclude each other."""


class NoWheelError(ResolutionError):
    """A distribution has no wheel that the target could use."""


class BuilderError(ImageKitError):
    """A builder can't do what was asked."""


class UnknownBuilderError(BuilderError, LookupError):
    """No builder of that name is installed."""

    def __init__(self, name: str, installed: tuple[str, ...]) -> None:
        known = ", ".join(installed) or "none"
        super().__init__(f"no builder named {name!r} (installed: {known})")
        self.name = name
        self.installed = installed


class BuilderUnavailableError(BuilderError):
    """The builder needs something that this machine lacks."""


class UnsupportedLayerError(BuilderError):
    """The builder can't make a layer of this kind."""


class BuildFailedError(BuilderError):
    """A step of the build ran and failed."""

    def __init__(
        self,
        message: str,
        *,
        argv: tuple[str, ...] = (),
        exit_code: int | None = None,
        log_tail: str = "",
        hint: str | None = None,
        origin: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, origin=origin)
        self.argv = argv
        self.exit_code = exit_code
        self.log_tail = log_tail
        if log_tail:
            # Python shows notes below the message, pytest too.
            self.add_note(log_tail.rstrip())


class DownloadError(ImageKitError):
    """A file could not be fetched."""


class HashMismatchError(DownloadError):
    """Fetched bytes differ from what was promised."""


class RegistryError(ImageKitError):
    """A registry refused, failed or could not be reached.

    Attributes:
        status: HTTP status, or None where no answer came.
        code: error code of the distribution spec (``BLOB_UNKNOWN``), or None.
        method: HTTP method.
        url: address, without what may be secret in it.
        temporary: whether the same request may succeed later.
        retry_after: seconds that the registry asked to wait, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        method: str = "",
        url: str = "",
        temporary: bool = False,
        retry_after: float | None = None,
        hint: str | None = None,
        origin: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, origin=origin)
        self.status = status
        self.code = code
        self.method = method
        self.url = url
        self.temporary = temporary
        self.retry_after = retry_after


class AuthenticationError(RegistryError):
    """A registry refused the credentials, or wants some."""


class LayoutError(ImageKitError):
    """An OCI layout or document is invalid; *issues* has every fault."""

    def __init__(self, message: str, issues: tuple[str, ...] = ()) -> None:
        lines = "".join(f"\n  - {issue}" for issue in issues)
        super().__init__(f"{message}{lines}")
        self.issues = issues


class StoreError(ImageKitError):
    """The content store can't be read or written."""
