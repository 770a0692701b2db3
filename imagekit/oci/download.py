"""Reading a blob: streamed, resumed where the connection broke, verified at the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from imagekit.digest import Digest, sha256
from imagekit.errors import HashMismatchError, RegistryError
from imagekit.oci.auth import pull
from imagekit.oci.client import Client, Request
from imagekit.oci.refusal import surprise

_OK, _PARTIAL = 200, 206
_RANGE = re.compile(r"bytes (\d+)-")


def read_blob(
    clients: Sequence[Client],
    digest: Digest,
    *,
    name: str,
    note: Callable[[str], None],
) -> Iterator[bytes]:
    """Yield the bytes of a blob from the first of *clients* that gives them.

    Where a connection breaks, the rest is asked for; where that fails for good, the
    next client gives the rest.

    Raises:
        RegistryError: the last client failed, too.
        HashMismatchError: the bytes, all of which were yielded, are wrong.
    """
    hasher = sha256()
    offset = 0
    for client, last in _with_last(clients):
        attempts = client.attempts()
        while True:
            try:
                for chunk in _from(client, digest, offset):
                    hasher.update(chunk)
                    offset += len(chunk)
                    yield chunk
                found = Digest(hasher.hexdigest())
                if found != digest:
                    raise HashMismatchError(
                        f"wanted blob {digest} from {name}, found {found} "
                        f"({offset} bytes)",
                        hint="the registry or something on the way damages blobs",
                    )
            except RegistryError as error:
                if offset and Digest(hasher.hexdigest()) == digest:
                    return
                try:
                    attempts.after(error)
                except RegistryError:
                    if last:
                        raise
                    note(f"asking {clients[-1].endpoint.name} itself: {error}")
                    break
            else:
                return


def _from(client: Client, digest: Digest, offset: int) -> Iterator[bytes]:
    reply = client.exchange(
        Request(
            method="GET",
            url=client.url(f"blobs/{digest}"),
            scopes=pull(client.repository),
            headers={"Range": f"bytes={offset}-"} if offset else {},
            expect=(_OK, _PARTIAL) if offset else (_OK,),
            stream=True,
        )
    )
    skip = 0
    if reply.status == _OK:
        skip = offset  # a server may ignore a Range (RFC 9110, 14.2)
    else:
        start = _RANGE.match(reply.header("Content-Range") or "")
        if start is None or int(start[1]) != offset:
            reply.close()
            raise surprise(reply, f"bytes from {offset}")
    for chunk in reply.stream():
        if skip < len(chunk):
            yield chunk[skip:]
        skip = max(0, skip - len(chunk))


def _with_last(clients: Sequence[Client]) -> Iterator[tuple[Client, bool]]:
    for position, client in enumerate(clients, 1):
        yield client, position == len(clients)
