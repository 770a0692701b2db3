"""``HttpApi``: requests to the API that outlast its faults, however they are sent."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from imagekit.cluster.access import Json
from imagekit.cluster.api_errors import (
    BrokenOffError,
    ClusterError,
    ForbiddenError,
    UnauthorizedError,
    UnreachableError,
)
from imagekit.cluster.kinds import JSON
from imagekit.cluster.refusal import refusal
from imagekit.cluster.retrying import Patience, Waiting
from imagekit.cluster.sending import Answer, Plug, Request, Sender
from imagekit.cluster.stopping import Stop

_Made = TypeVar("_Made")
_OK = range(200, 300)
#: Beyond these, characters of JSON are in the body as they are.
_ESCAPED = re.compile("[\x7f-\uffff]")
#: The API server itself gives up after 60 s. A try that is lost costs no more.
_SECONDS = 30.0
#: Seconds after a fault in which an API server that starts may not know its users yet.
_STARTING = 15.0


def _in_silence(_reason: str) -> None:
    pass


class HttpApi:
    """Access to the Kubernetes API; safe to use from many threads.

    Transient faults are outlasted: nothing answers, the connection breaks, 429, 5xx.
    All requests are sent again then, creates too: see :class:`ClusterError`'s
    ``after_fault``.

    Args:
        sender: what sends.
        namespace: the default namespace.
        patience: seconds to go on after the first fault of a request.
        waiting: is told why requests wait.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        namespace: str,
        patience: float,
        waiting: Waiting | None = None,
    ) -> None:
        self.namespace = namespace
        self._sender = sender
        self._patience = patience
        self._waiting = waiting or _in_silence
        self._last_fault: float | None = None

    def request(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> Json:
        """Send a request and return the document of the answer, or None.

        Args:
            method: of HTTP.
            path: from ``/api`` on, quoted.
            body: a document.
            query: parameters.
            content_type: of *body*.
            accept: what is wanted.
            timeout: seconds without a byte until one try counts as lost.
            stop: ends the request, with the error that it had, or that it gets.

        Raises:
            ClusterError: the API refuses, or is not there for too long.
        """
        request = Request(
            method=method,
            target=_target(path, query),
            body=None if body is None else _encoded(body),
            content_type=content_type,
            accept=accept,
            timeout=_SECONDS if timeout is None else timeout,
        )

        def once() -> Json:
            with ExitStack() as stack:
                plug = stack.enter_context(Plug())
                if stop is not None:
                    stack.enter_context(stop.ending(plug.pull))
                answer = self._sender.send(request, plug)
                stack.callback(answer.close)
                content = answer.read()
            self._check(request, answer, content, path)
            return self._document(content)

        return self._persist(once, stop or Stop())

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = JSON,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> Iterator[Iterator[bytes]]:
        """Send a GET; its value yields the body as it comes.

        Args:
            path: from ``/api`` on, quoted.
            query: parameters.
            accept: what is wanted.
            timeout: seconds without a byte until the connection counts as lost; None
                waits as long as it stands.
            stop: ends the stream: then the body ends without an error.

        Raises:
            ClusterError: the API refuses, or is not there for too long. The iterator
                raises BrokenOffError where the body breaks off.
        """
        request = Request(
            method="GET",
            target=_target(path, query),
            accept=accept,
            timeout=timeout,
        )
        stop = stop or Stop()
        with Plug() as plug, stop.ending(plug.pull):

            def once() -> Answer:
                answer = self._sender.send(request, plug)
                if answer.status not in _OK:
                    try:
                        self._check(request, answer, answer.read(), path)
                    finally:
                        answer.close()
                return answer

            answer = self._persist(once, stop)
            try:
                yield self._noted(_chunks(answer, plug))
            finally:
                answer.close()

    def patient(self, seconds: float, waiting: Waiting | None = None) -> HttpApi:
        """Return the same access, which goes on for *seconds* after a first fault."""
        return HttpApi(
            self._sender,
            namespace=self.namespace,
            patience=seconds,
            waiting=waiting or self._waiting,
        )

    def close(self) -> None:
        """Close idle connections."""
        self._sender.close()

    def _persist(self, once: Callable[[], _Made], stop: Stop) -> _Made:
        """Return what *once* does, done again until it succeeds or is refused."""
        patience = Patience(self._patience, waiting=self._waiting, stop=stop)
        perhaps_done = refreshed = False
        while True:
            try:
                return once()
            except ClusterError as error:
                error.after_fault = perhaps_done
                perhaps_done = perhaps_done or error.perhaps_done
                if isinstance(error, UnauthorizedError) and not refreshed:
                    refreshed = True
                    self._sender.refresh()
                elif error.temporary or self._may_be_starting(error):
                    self._note(error)
                    patience.after(error)
                else:
                    raise

    def _noted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield *chunks*, and take note if the connection breaks off."""
        try:
            yield from chunks
        except UnreachableError as error:
            self._note(error)
            raise

    def _note(self, error: ClusterError) -> None:
        if isinstance(error, UnreachableError):
            self._last_fault = time.monotonic()

    def _may_be_starting(self, error: ClusterError) -> bool:
        """Return whether a refusal may come from an API server that has just started.

        It answers before it has read roles and users, and refuses everybody then.
        """
        denied = isinstance(error, UnauthorizedError) or (
            isinstance(error, ForbiddenError) and bool(error.verb)
        )
        last = self._last_fault
        return denied and last is not None and time.monotonic() - last < _STARTING

    def _check(
        self, request: Request, answer: Answer, content: bytes, path: str
    ) -> None:
        if answer.status in _OK:
            return
        error = refusal(
            answer.status,
            content,
            method=request.method,
            path=path,
            retry_after=answer.header("Retry-After"),
        )
        if isinstance(error, UnauthorizedError):
            error.hint = self._sender.login_hint
        raise error

    def _document(self, content: bytes) -> Json:
        try:
            return json.loads(content) if content else None
        except ValueError:
            # The text of the error, and its cause's, would hold the document.
            raise ClusterError(
                f"wanted JSON from {self._sender.host!r}, found something else",
                hint="check that the address is a Kubernetes API's",
            ) from None


def _chunks(answer: Answer, plug: Plug) -> Iterator[bytes]:
    while True:
        try:
            chunk = answer.chunk()
        except UnreachableError as error:
            if plug.pulled:
                return
            raise BrokenOffError(
                error.message, temporary=True, hint=error.hint
            ) from error
        if not chunk:
            return
        yield chunk


def _target(path: str, query: Mapping[str, str] | None) -> str:
    from urllib.parse import urlencode  # noqa: PLC0415  (definitions are cheap without)

    return f"{path}?{urlencode(query)}" if query else path


def _encoded(body: Json) -> bytes:
    r"""Return JSON that is the same document as YAML, which is how an apply is read.

    YAML knows ``\u`` with four digits, but no pairs of surrogates, and takes some
    characters that are not escaped for ends of lines.
    """
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    escaped = _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return escaped.encode()
