"""What can go wrong between imagekit and the Kubernetes API.

::

    RuntimeSystemError
    └─ ClusterError                   root: .status .reason
        ├─ UnreachableError           nothing answers, or the answer broke off
        │   └─ BrokenOffError         a stream broke off that had begun
        ├─ UnauthorizedError          401: the credentials are not accepted
        ├─ ForbiddenError             403: the Role lacks a rule, or a policy refuses
        │   └─ QuotaError             a quota of the namespace is used up
        ├─ NotFoundError              404
        ├─ AlreadyExistsError         409: of a create
        ├─ ConflictError              409: somebody else changed the object
        ├─ GoneError                  410: a watch or list has to start again
        └─ InvalidError               400, 422: the object makes no sense

No message holds a token, a body, or a value out of an object: the API quotes values in
its messages, and they may be secret.
"""

from __future__ import annotations

from imagekit.task_errors import RuntimeSystemError


class ClusterError(RuntimeSystemError):
    """The Kubernetes API refused or failed.

    Attributes:
        status: HTTP status, or None where no answer came.
        reason: what the API calls it (``AlreadyExists``), or None.
        temporary: whether the same request may succeed later.
        retry_after: seconds that the API asked to wait, or None.
        perhaps_done: whether the API may have done what this answer refuses: the
            request, or an earlier try of it, may have got there.
        after_fault: whether an earlier try of the request may have been carried out,
            so that this answer may be to what it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        reason: str | None = None,
        temporary: bool = False,
        retry_after: float | None = None,
        perhaps_done: bool = False,
        hint: str | None = None,
        origin: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, origin=origin)
        self.status = status
        self.reason = reason
        self.temporary = temporary
        self.retry_after = retry_after
        self.perhaps_done = perhaps_done
        self.after_fault = False


class UnreachableError(ClusterError):
    """Nothing answers, or the answer broke off."""


class BrokenOffError(UnreachableError):
    """A stream that had begun broke off; another one can go on."""


class UnauthorizedError(ClusterError):
    """The API does not accept the credentials."""


class ForbiddenError(ClusterError):
    """The Role lacks a rule, or a policy of the cluster refuses the object.

    Attributes:
        verb: what was asked (``create``), where a rule is missing, else "".
        resource: of what (``jobs.batch``, ``pods/log``).
        namespace: where; "" for the whole cluster.
    """

    verb: str = ""
    resource: str = ""
    namespace: str = ""


class QuotaError(ForbiddenError):
    """A quota of the namespace is used up, or wants limits that are not set.

    Attributes:
        quota: its name.
        requested: what the object asks for, by resource; amounts as Kubernetes
            writes them.
        used: what is in use.
        limited: what may be.
    """

    quota: str = ""
    requested: dict[str, str]
    used: dict[str, str]
    limited: dict[str, str]


class NotFoundError(ClusterError):
    """There is no such object, or no such namespace."""


class AlreadyExistsError(ClusterError):
    """There is an object of that name."""


class ConflictError(ClusterError):
    """Somebody else changed or owns what was to be changed."""


class GoneError(ClusterError):
    """What a watch or list was to go on from is no longer known."""


class InvalidError(ClusterError):
    """The API can't make sense of an object.

    Attributes:
        fields: path of each field at fault, with the reason.
    """

    fields: tuple[tuple[str, str], ...] = ()
