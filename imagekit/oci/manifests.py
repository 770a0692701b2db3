"""Manifests and indexes of a repository, read and written as verified bytes."""

from __future__ import annotations

import json
from urllib.parse import quote

from imagekit.digest import Digest
from imagekit.errors import HashMismatchError, InvalidDigestError, RegistryError
from imagekit.oci.auth import Scopes
from imagekit.oci.client import Client, Request
from imagekit.oci.refusal import surprise
from imagekit.oci.repository import ManifestContent, ManifestHead
from imagekit.oci.transport import Reply

_MEDIA_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT = {"Accept": ", ".join(_MEDIA_TYPES)}
_CREATED, _NOT_FOUND = 201, 404
_BUSY_LINKS = "DIGEST_INVALID"


def head_manifest(
    client: Client, reference: str, scopes: Scopes
) -> ManifestHead | None:
    """Return what the registry says about a tag or digest, or None if it has none."""
    reply = client.request(_request("HEAD", client, reference, scopes))
    if reply.status == _NOT_FOUND:
        return None
    digest = _stated(reply)
    media_type = _media_type(reply)
    length = reply.header("Content-Length") or ""
    if digest is None or media_type not in _MEDIA_TYPES or not length.isdigit():
        # The headers may be missing (distribution-spec, "Pulling manifests").
        found = get_manifest(client, reference, scopes)
        if found is None:
            return None
        return ManifestHead(found.digest, found.media_type, len(found.content))
    asked = _asked(reference)
    if asked is not None and asked != digest:
        raise surprise(reply, f"manifest {asked}")
    return ManifestHead(digest, media_type, int(length))


def get_manifest(
    client: Client, reference: str, scopes: Scopes
) -> ManifestContent | None:
    """Return the manifest of a tag or digest, verified, or None if there is none.

    Raises:
        HashMismatchError: the bytes are not what the digest or the registry says.
    """
    reply = client.request(_request("GET", client, reference, scopes))
    if reply.status == _NOT_FOUND:
        return None
    found = Digest.of(reply.content)
    for promised in (_asked(reference), _stated(reply)):
        if promised is not None and promised != found:
            raise HashMismatchError(
                f"wanted manifest {promised} from {client.endpoint.name!r}, "
                f"found {found}",
                hint="the registry or something on the way damages manifests",
            )
    media_type = _media_type(reply)
    if media_type not in _MEDIA_TYPES:
        media_type = _declared(reply.content)
    if media_type not in _MEDIA_TYPES:
        raise surprise(reply, "an OCI or Docker schema 2 manifest or index")
    return ManifestContent(reply.content, media_type, found)


def put_manifest(
    client: Client, reference: str, content: bytes, media_type: str, scopes: Scopes
) -> Digest:
    """Write a manifest under a tag or its digest, and return the digest.

    Raises:
        HashMismatchError: *reference* is the digest of other bytes, or the registry
            stored other bytes.
    """
    digest = Digest.of(content)
    asked = _asked(reference)
    if asked is not None and asked != digest:
        raise HashMismatchError(f"wanted a manifest {asked} to write, found {digest}")
    reply = _put(
        client,
        Request(
            method="PUT",
            url=client.url(f"manifests/{quote(reference, safe=':')}"),
            scopes=scopes,
            expect=(_CREATED, 200, 202),
            headers={"Content-Type": media_type},
            body=content,
        ),
    )
    stored = _stated(reply)
    if stored is not None and stored != digest:
        raise RegistryError(
            f"wrote manifest {digest} to {client.endpoint.name!r}, "
            f"which says that it stored {stored}",
            status=reply.status,
            method="PUT",
            url=reply.url,
        )
    if reply.status != _CREATED:
        # Not what the spec says, so not known to be done.
        head = head_manifest(client, reference, scopes)
        if head is None or head.digest != digest:
            raise surprise(reply, f"manifest {digest} to be written")
    return digest


def _put(client: Client, request: Request) -> Reply:
    attempts = client.attempts()
    while True:
        try:
            return client.exchange(request)
        except RegistryError as error:
            # The distribution registry says this of a right digest, and where none was
            # given: while another client writes the same blobs, their links on its file
            # system are empty for a moment.
            attempts.after(error, again=error.temporary or error.code == _BUSY_LINKS)


def _request(method: str, client: Client, reference: str, scopes: Scopes) -> Request:
    return Request(
        method=method,
        url=client.url(f"manifests/{quote(reference, safe=':')}"),
        scopes=scopes,
        expect=(200, _NOT_FOUND),
        headers=_ACCEPT,
    )


def _asked(reference: str) -> Digest | None:
    """Return the digest that *reference* is; no tag has a colon."""
    return Digest.parse(reference) if ":" in reference else None


def _stated(reply: Reply) -> Digest | None:
    try:
        return Digest.parse(reply.header("Docker-Content-Digest") or "")
    except InvalidDigestError:
        return None


def _media_type(reply: Reply) -> str:
    return (reply.header("Content-Type") or "").partition(";")[0].strip()


def _declared(content: bytes) -> str:
    """Return the media type that the document gives itself, or nothing."""
    try:
        return str(json.loads(content)["mediaType"])
    except (ValueError, LookupError, TypeError):
        return ""
