"""Bases by name: what people would write for the base of an image."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, assert_never

from imagekit.errors import BaseNotFoundError, LayoutError
from imagekit.layers import DebianBase, DockerfileBase, ImageBase, LayoutBase
from imagekit.origin import SourcePath
from imagekit.source_text import read_text

if TYPE_CHECKING:
    from imagekit.image import Image
    from imagekit.python_inputs.script_header import ScriptHeader


#: Debian release of the default base; a change is a new identity for its images.
_DEBIAN = "bookworm"


def base_reference(image: Image) -> str | None:
    """Return the reference of the base as people write it; None for a Dockerfile."""
    base = image.base
    match base:
        case DebianBase():
            major, minor = python_of(image) or sys.version_info[:2]
            return f"docker.io/library/python:{major}.{minor}-slim-{_DEBIAN}"
        case ImageBase():
            return base.reference
        case LayoutBase():
            if base.reference is None:
                return f"oci:{base.path.location}"
            joint = "@" if base.reference.startswith("sha256:") else ":"
            return f"oci:{base.path.location}{joint}{base.reference}"
        case DockerfileBase():
            return None
        case _:
            assert_never(base)


def base_key(image: Image) -> str | None:
    """Return what of the base enters the content id: for a layout, its digest."""
    if isinstance(image.base, LayoutBase):
        return f"oci@{layout_digest(image.base)}"
    return base_reference(image)


def python_of(image: Image) -> tuple[int, int] | None:
    """Return the Python that the definition decides; None where the base does."""
    if not isinstance(image.base, DebianBase):
        return image.requested_python
    if image.base.script is None:
        return image.requested_python or sys.version_info[:2]
    from imagekit.python_inputs.script_header import (  # noqa: PLC0415
        parse_script,
        python_for_script,
    )

    script = image.base.script
    header = parse_script(read_text(script.location), name=script.location)
    return python_for_script(header, image.requested_python, sys.version_info[:2])


def script_header(script: SourcePath) -> ScriptHeader:
    """Return the header of *script* (PEP 723)."""
    from imagekit.python_inputs.script_header import parse_script  # noqa: PLC0415

    return parse_script(read_text(script.location), name=script.location)


def layout_digest(base: LayoutBase) -> str:
    """Return the digest of the manifest or index that *base* means.

    Raises:
        BaseNotFoundError: there is no layout, or not this tag or digest in it.
    """
    from imagekit.oci.layout import Layout  # noqa: PLC0415  (only for layouts)

    try:
        return str(Layout.open(base.path.location).resolve(base.reference).digest)
    except LayoutError as error:
        raise BaseNotFoundError(
            str(error), hint="wanted oci:PATH, oci:PATH:TAG or oci:PATH@DIGEST"
        ) from error
