"""Where the API keeps the kinds of objects that imagekit uses."""

from __future__ import annotations

from imagekit.records import dataclass

#: Kind to API version and resource. ``Event`` says why a Job gets no pods.
_KINDS = {
    "ConfigMap": ("v1", "configmaps"),
    "Event": ("v1", "events"),
    "Job": ("batch/v1", "jobs"),
    "Lease": ("coordination.k8s.io/v1", "leases"),
    "Pod": ("v1", "pods"),
    "PodTemplate": ("v1", "podtemplates"),
    "Secret": ("v1", "secrets"),
}
JSON = "application/json"
#: Asks for the metadata of objects only.
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
#: imagekit has to know whether a secret is there, and never what is in it.
_NEVER_READ = frozenset({"Secret"})


def version_of(kind: str) -> str:
    """Return the ``apiVersion`` of *kind*.

    Raises:
        ValueError: imagekit does not use objects of this kind.
    """
    return _known(kind)[0]


def path_of(
    kind: str, namespace: str, name: str | None = None, subresource: str = ""
) -> str:
    """Return the path of a kind's objects, of one of them, or of a part of it.

    Raises:
        ValueError: imagekit does not use objects of this kind.
    """
    from urllib.parse import quote  # noqa: PLC0415  (definitions are cheap without it)

    version, resource = _known(kind)
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    parts = [root, "namespaces", quote(namespace, safe=""), resource]
    if name is not None:
        if not name:
            raise ValueError(f"wanted the name of a {kind}, found ''")
        parts.append(quote(name, safe=""))
    return "/".join([*parts, *([subresource] if subresource else [])])


def accept_of(kind: str, *, listed: bool = False, metadata: bool = False) -> str:
    """Return the media type to ask for: without the content of what is secret."""
    if metadata or kind in _NEVER_READ:
        return METADATA_LIST if listed else METADATA
    return JSON


def _known(kind: str) -> tuple[str, str]:
    try:
        return _KINDS[kind]
    except KeyError:
        known = ", ".join(sorted(_KINDS))
        raise ValueError(f"wanted one of the kinds {known}, found {kind!r}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a path names.

    Attributes:
        resource: with group and subresource: ``jobs.batch``, ``pods/log``.
        namespace: "" for the whole cluster.
        name: "" for all objects.
    """

    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        where = f" in namespace {self.namespace!r}" if self.namespace else ""
        return f"{self.resource}{name}{where}"


def target_of(path: str) -> Target:
    """Return what *path* names, as the rules of a Role do."""
    from urllib.parse import unquote  # noqa: PLC0415  (as above)

    parts = [unquote(part) for part in path.split("/") if part]
    match parts:
        case ["api", _, *rest]:
            group = ""
        case ["apis", group, _, *rest]:
            group = f".{group}"
        case _:
            return Target(resource=path)
    namespace = ""
    match rest:
        case ["namespaces", namespace, resource, *rest]:
            pass
        case [resource, *rest]:
            pass
        case _:
            return Target(resource=path)
    name = rest[0] if rest else ""
    part = "/".join(["", *rest[1:]])
    return Target(
        resource=f"{resource}{group}{part}",
        namespace=namespace,
        name=name,
    )
