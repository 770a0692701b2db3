"""A base image as it was named, to the pinned image that a plan builds on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from imagekit.errors import (
    BaseNotFoundError,
    BaseUnsuitableError,
    ImageKitError,
    LayoutError,
)
from imagekit.layers import ImageBase, LayoutBase
from imagekit.oci.model import oci_media_type
from imagekit.oci.registry import Registries
from imagekit.oci.select import FoundImage, find_image, offered_platforms
from imagekit.plan import BaseImage, Interpreter, LayerDescriptor
from imagekit.platform import Platform
from imagekit.resolve.base_facts import BaseFacts, official_facts
from imagekit.resolve.base_source import OpenBase, open_base
from imagekit.store import Store

#: Records of what was found in the layers of a base, by the digest of its manifest.
BASE_RECORDS = "bases"

_NOTHING = BaseFacts(interpreters=(), libc=None, links=())


def resolve_base(
    base: ImageBase | LayoutBase,
    platform: Platform,
    *,
    registries: Registries,
    store: Store,
    need_python: bool,
    python: tuple[int, int] | None = None,
    need_links: bool = True,
    origin: str | None = None,
) -> BaseImage:
    """Return *base* for *platform*, pinned, with what has to be known of it.

    A base that was resolved before costs one request if it is named by a tag, and none
    if by a digest. What is in its layers is known from its config (official Python
    images), from an earlier time, or found by streaming the layers once.

    Args:
        base: the base as the definition names it.
        platform: what the image is for.
        registries: clients for registries.
        store: keeps documents, and what was found.
        need_python: whether a Python is needed.
        python: minor version that it has to have; None for the one PATH finds first.
        need_links: whether the links of its folders have to be known; they do where a
            layer writes to a path that may lead through one (``/lib``, ``/var/run``).
        origin: where the base is named, for errors.

    Raises:
        BaseNotFoundError: there is no such image, or none for *platform*.
        BaseUnsuitableError: it has no Python, or not the one that was asked for.
        RegistryError: the registry refused, or could not be reached.
        BuilderUnavailableError: it should be in the local engine, and there is none.
    """
    return resolve_bases(
        base,
        (platform,),
        registries=registries,
        store=store,
        need_python=need_python,
        python=python,
        need_links=need_links,
        origin=origin,
    )[0]


def resolve_bases(
    base: ImageBase | LayoutBase,
    platforms: Sequence[Platform],
    *,
    registries: Registries,
    store: Store,
    need_python: bool,
    python: tuple[int, int] | None = None,
    need_links: bool = True,
    origin: str | None = None,
) -> tuple[BaseImage, ...]:
    """Return *base* for each of *platforms*, as :func:`resolve_base` does.

    A tag is looked up once for all of them, so they are of one release.
    """
    try:
        opened = open_base(base, registries=registries, store=store)
        return tuple(
            _resolve(
                opened,
                platform,
                store=store,
                need_python=need_python,
                python=python,
                need_facts=need_python or need_links,
            )
            for platform in platforms
        )
    except LayoutError as error:
        raise BaseUnsuitableError(
            f"the base image is not valid: {error}",
            hint=error.hint or "name another base, or build this one anew",
            origin=origin,
        ) from error
    except ImageKitError as error:
        error.at(origin)
        raise


def _resolve(
    opened: OpenBase,
    platform: Platform,
    *,
    store: Store,
    need_python: bool,
    python: tuple[int, int] | None,
    need_facts: bool,
) -> BaseImage:
    image = find_image(opened.root, platform, opened.read)
    if image is None:
        raise _not_for(opened, platform)
    facts = _facts(opened, image, platform, store) if need_facts else _NOTHING
    interpreter = _interpreter(opened, facts, python) if need_python else None
    return BaseImage(
        name=opened.name,
        platform=platform,
        manifest=image.descriptor.digest,
        config=image.config_bytes,
        layers=_layers(image),
        source=opened.source,
        interpreter=interpreter,
        libc=facts.libc,
        links=facts.links,
    )


def _not_for(opened: OpenBase, platform: Platform) -> BaseNotFoundError:
    offered = offered_platforms(opened.root, opened.read)
    found = ", ".join(offered) or "no image at all"
    choice = f"build for {' or '.join(offered)}" if offered else "check the name"
    return BaseNotFoundError(
        f"{opened.name!r} has no image for {platform} (found: {found})",
        hint=f"{choice}, or name another base",
    )


def _facts(
    opened: OpenBase, image: FoundImage, platform: Platform, store: Store
) -> BaseFacts:
    """Return what is in the layers.

    Facts from the config are not recorded: they need the repository's name, and what a
    record says must not depend on how the image was named when it was written.
    """
    official = official_facts(
        opened.repository or "",
        opened.tag,
        architecture=platform.architecture,
        env=dict(image.config.env),
        history=image.config.history,
    )
    if official is not None:
        return official
    key = image.descriptor.digest.hex
    known = BaseFacts.from_record(store.read_record(BASE_RECORDS, key))
    if known is not None:
        return known
    from imagekit.resolve.base_scan import (  # noqa: PLC0415  (seldom needed)
        LayerStream,
        scan_layers,
    )

    streams = [
        LayerStream(media_type=layer.media_type, open=partial(opened.layer, layer))
        for layer in image.manifest.layers
    ]
    facts = scan_layers(streams, platform=platform, env=dict(image.config.env))
    store.write_record(BASE_RECORDS, key, facts.to_record())
    return facts


def _interpreter(
    opened: OpenBase, facts: BaseFacts, python: tuple[int, int] | None
) -> Interpreter:
    for interpreter in facts.interpreters:
        if python is None or interpreter.version == python:
            return interpreter
    wanted = f"Python {_text(python)}" if python else "a Python"
    if not facts.interpreters:
        raise BaseUnsuitableError(
            f"wanted {wanted} in the base {opened.name!r}, found none",
            hint="use a base with Python 3 on its PATH, such as "
            "'docker.io/library/python:3.12-slim-bookworm'",
        )
    found = ", ".join(
        f"{_text(item.version)} at {item.path}" for item in facts.interpreters
    )
    version = _text(facts.interpreters[0].version)
    raise BaseUnsuitableError(
        f"wanted {wanted} in the base {opened.name!r}, found {found}",
        hint=f"ask for Python {version}, or use a base with {wanted}",
    )


def _layers(image: FoundImage) -> tuple[LayerDescriptor, ...]:
    return tuple(
        LayerDescriptor(
            # The bytes are the same; an OCI manifest names them as OCI does.
            media_type=oci_media_type(layer.media_type),
            digest=layer.digest,
            size=layer.size,
            diff_id=diff_id,
        )
        for layer, diff_id in zip(
            image.manifest.layers, image.config.diff_ids, strict=True
        )
    )


def _text(version: tuple[int, int] | None) -> str:
    return ".".join(map(str, version or ()))
