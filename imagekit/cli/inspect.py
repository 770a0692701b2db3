"""Show what is in an image: platforms, layers with their contents, identity.

REF is an image in a registry, or oci:DIR[:TAG] for an OCI layout on disk.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from imagekit.cli.output import Output
from imagekit.cli.sizes import size_text
from imagekit.cli.usage import Parser

if TYPE_CHECKING:
    from imagekit.oci.model import Descriptor
    from imagekit.oci.select import ReadDocument
    from imagekit.settings import Settings

EXAMPLES = """\
examples:
  imagekit inspect ghcr.io/team/app:1
  imagekit inspect oci:out --platform linux/arm64
"""

_ATTESTATION = "vnd.docker.reference.type"


def configure(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("reference", metavar="REF", help="the image")
    parser.add_argument(
        "--platform", metavar="PLATFORM", help="show the image for one platform only"
    )


def run(arguments: Namespace, output: Output) -> int:
    """Print the image."""
    from imagekit.platform import Platform  # noqa: PLC0415  (not for --help)
    from imagekit.settings import load_settings  # noqa: PLC0415

    only = str(Platform.parse(arguments.platform)) if arguments.platform else None
    text: str = arguments.reference
    settings = load_settings()
    if text.startswith("oci:"):
        found = _in_layout(text.removeprefix("oci:"), only)
    else:
        found = _in_registry(text, settings, only)
    output.document |= {"reference": text, **found}
    for line in _lines(output.document):
        output.line(line)
    return 0


def _in_registry(text: str, settings: Settings, only: str | None) -> dict[str, Any]:
    from imagekit.building import make_registries  # noqa: PLC0415  (not for --help)
    from imagekit.errors import BaseNotFoundError  # noqa: PLC0415
    from imagekit.oci.model import Descriptor  # noqa: PLC0415
    from imagekit.reference import Reference  # noqa: PLC0415

    reference = Reference.parse(text)
    with make_registries(settings) as registries:
        repository = registries.of(reference)
        found = repository.get_manifest(reference.target)
        if found is None:
            raise BaseNotFoundError(
                f"no image {text!r} in {reference.registry!r}",
                hint="check the name and the tag, and whether you may read it",
            )
        root = Descriptor.of(found.content, found.media_type)

        def read(descriptor: Descriptor) -> bytes:
            if descriptor.digest == root.digest:
                return found.content
            if descriptor.is_manifest or descriptor.is_index:
                part = repository.get_manifest(str(descriptor.digest))
                if part is None:
                    raise BaseNotFoundError(f"{text!r} lacks {descriptor.digest}")
                return part.content
            return b"".join(repository.read_blob(descriptor.digest))

        return _described(root, read, only)


def _in_layout(text: str, only: str | None) -> dict[str, Any]:
    from pathlib import Path  # noqa: PLC0415  (not for --help)

    from imagekit.oci.layout import Layout  # noqa: PLC0415

    path, tag = text, None
    if not Path(text).is_dir() and ":" in text:
        path, _, tag = text.rpartition(":")
    layout = Layout.open(path)
    return _described(layout.resolve(tag), layout.read, only)


def _described(
    root: Descriptor, read: ReadDocument, only: str | None
) -> dict[str, Any]:
    from imagekit.errors import BaseNotFoundError  # noqa: PLC0415  (not for --help)
    from imagekit.oci.annotations import CONTENT_ID  # noqa: PLC0415
    from imagekit.oci.model import Index, read_document  # noqa: PLC0415

    view = read_document(read(root), root.media_type)
    annotations = dict(view.annotations)
    images = (
        [_image(item, read) for item in view.manifests if _is_image(item)]
        if isinstance(view, Index)
        else [_image(root, read)]
    )
    shown = [item for item in images if only in (None, item["platform"])]
    if not shown:
        known = ", ".join(item["platform"] for item in images) or "none"
        raise BaseNotFoundError(f"wanted an image for {only!r}, found: {known}")
    return {
        "digest": str(root.digest),
        "media_type": root.media_type,
        "size": root.size,
        "content_id": annotations.get(CONTENT_ID),
        "annotations": annotations,
        "images": shown,
    }


def _is_image(item: Descriptor) -> bool:
    return item.is_manifest and item.annotation(_ATTESTATION) is None


def _image(root: Descriptor, read: ReadDocument) -> dict[str, Any]:
    from imagekit.oci.annotations import BASE_DIGEST, BASE_NAME  # noqa: PLC0415
    from imagekit.oci.config import read_config  # noqa: PLC0415
    from imagekit.oci.model import read_manifest  # noqa: PLC0415

    view = read_manifest(read(root), root.media_type)
    config = read_config(read(view.config))
    platform = root.platform or config.platform
    annotations = dict(view.annotations)
    return {
        "platform": str(platform) if platform else "unknown",
        "digest": str(root.digest),
        "size": sum(layer.size for layer in view.layers),
        "base": {
            "name": annotations.get(BASE_NAME),
            "digest": annotations.get(BASE_DIGEST),
        },
        "annotations": annotations,
        "env": dict(config.env),
        "workdir": config.workdir,
        "user": config.user,
        "layers": [_layer(layer) for layer in view.layers],
    }


def _layer(layer: Descriptor) -> dict[str, Any]:
    from imagekit.oci.annotations import DIFF_ID, KEY, TITLE  # noqa: PLC0415

    return {
        "title": layer.annotation(TITLE),
        "digest": str(layer.digest),
        "size": layer.size,
        "media_type": layer.media_type,
        "key": layer.annotation(KEY),
        "diff_id": layer.annotation(DIFF_ID),
    }


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield found["reference"]
    yield f"  digest      {found['digest']}"
    yield f"  media type  {found['media_type']}"
    content = {found["content_id"]} | {
        image["annotations"].get("dev.imagekit.content-id") for image in found["images"]
    }
    for text in sorted(content - {None}):
        yield f"  content id  {text}"
    for image in found["images"]:
        yield ""
        yield from _image_lines(image)


def _image_lines(image: dict[str, Any]) -> Iterator[str]:
    layers = image["layers"]
    yield f"{image['platform']}  {size_text(image['size'])} in {len(layers)} layers"
    yield f"  digest   {image['digest']}"
    if image["base"]["digest"]:
        name = image["base"]["name"] or "an OCI layout"
        yield f"  base     {name}"
        yield f"           {image['base']['digest']}"
    if image["user"]:
        yield f"  user     {image['user']}"
    if image["workdir"]:
        yield f"  workdir  {image['workdir']}"
    for name, value in image["env"].items():
        yield f"  env      {name}={value}"
    for layer in layers:
        digest = layer["digest"].removeprefix("sha256:")[:12]
        title = layer["title"] or "(from the base)"
        yield f"  {size_text(layer['size']):>9}  {digest}  {title}"
