"""Requests to one repository of one registry: authorization, redirects, retries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from imagekit.errors import AuthenticationError, RegistryError
from imagekit.oci.address import Endpoint, follow, origin
from imagekit.oci.auth import Authorizer, Scopes
from imagekit.oci.refusal import refusal
from imagekit.oci.retry import Attempts, RetryPolicy
from imagekit.oci.transport import Reply, Transport
from imagekit.progress import Progress
from imagekit.records import dataclass, field

_UNAUTHORIZED, _FORBIDDEN = 401, 403
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_CHAIN = 5

#: Bytes, or what starts the body anew for every try, with its length in the headers.
Body: TypeAlias = bytes | Callable[[], Iterator[bytes]] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that can be sent more than once.

    Attributes:
        scopes: what its access token has to allow.
        expect: the statuses that are answers; all others are errors.
        stream: whether the body of a successful answer is left to be read.
    """

    method: str
    url: str
    scopes: Scopes
    expect: tuple[int, ...] = (200,)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = None
    stream: bool = False


class Client:
    """Sends requests about one repository.

    Attributes:
        endpoint: the registry that the repository is in.
        repository: its name there, the prefix of a mirror included.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        repository: str,
        transport: Transport,
        authorizer: Authorizer,
        retry: RetryPolicy,
        progress: Progress,
    ) -> None:
        self.endpoint = endpoint
        self.repository = repository
        self._transport = transport
        self._authorizer = authorizer
        self._retry = retry
        self._progress = progress

    def url(self, path: str) -> str:
        """Return the address of *path* below the repository."""
        return f"{self.endpoint.url}/v2/{self.repository}/{path}"

    def attempts(self) -> Attempts:
        """Return a new count of tries."""
        return Attempts(self._retry, self._progress)

    def request(self, request: Request) -> Reply:
        """Send *request*, again where it fails for a time, and return the answer.

        Raises:
            RegistryError: no answer was among the expected ones.
        """
        attempts = self.attempts()
        while True:
            try:
                return self.exchange(request)
            except RegistryError as error:
                attempts.after(error)

    def exchange(self, request: Request) -> Reply:
        """Send *request*, and again only to log in or to follow a redirect.

        Raises:
            RegistryError: the answer was not among the expected ones.
        """
        header = self._authorizer.header(request.scopes)
        logins = 0
        while True:
            reply = self._sent(request, header)
            if reply.status in request.expect:
                return reply
            error = refusal(reply)
            if origin(reply.url) != origin(request.url):
                raise _elsewhere(error)
            # Twice: to learn what is wanted, and once more where that has expired.
            if reply.status != _UNAUTHORIZED or logins > 1:
                raise error
            renewed = self._authorizer.renewed(reply, request.scopes, header)
            if renewed is None:
                raise _unknown_here(error, self.endpoint.name, known=header is not None)
            header = renewed
            logins += 1

    def _sent(self, request: Request, authorization: str | None) -> Reply:
        """Send *request* and follow redirects, which get no authorization."""
        url = request.url
        for _ in range(_LONGEST_CHAIN):
            headers = dict(request.headers)
            if authorization and origin(url) == origin(self.endpoint.url):
                headers["Authorization"] = authorization
            body = request.body() if callable(request.body) else request.body
            reply = self._transport.send(
                request.method, url, headers=headers, body=body, stream=request.stream
            )
            if reply.status not in _REDIRECTS or request.method not in ("GET", "HEAD"):
                return reply
            url = follow(url, reply.header("Location"), method=request.method)
        raise RegistryError(
            f"{self.endpoint.name!r} redirects in circles "
            f"({_LONGEST_CHAIN} redirects for {request.method} {request.url})",
            method=request.method,
            url=request.url,
        )


def _elsewhere(error: RegistryError) -> RegistryError:
    """Return the error of a host that a redirect led to.

    It knows nothing of the login here: what it refuses is a signed address that has
    expired, and the registry gives a new one.
    """
    if error.status in (_UNAUTHORIZED, _FORBIDDEN):
        return RegistryError(
            error.message,
            status=error.status,
            code=error.code,
            method=error.method,
            url=error.url,
            temporary=True,
        )
    return error


def _unknown_here(error: RegistryError, name: str, *, known: bool) -> RegistryError:
    if isinstance(error, AuthenticationError):
        error.hint = (
            f"{name!r} refused the login that was found: log in again ('docker login')"
            if known
            else f"no login for {name!r} was found: log in ('docker login {name}')"
        )
    return error
