"""Every fault of an image at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_never

from imagekit.bases import base_reference, layout_digest
from imagekit.contents import ignore_rules, read_context, read_layer
from imagekit.errors import ImageKitError, ValidationError
from imagekit.layers import DebianBase, DockerfileBase, ImageBase, LayoutBase
from imagekit.naming import is_existing, repository_name
from imagekit.reference import Reference
from imagekit.source_text import located

if TYPE_CHECKING:
    from imagekit.image import Image


def validate(image: Image) -> None:
    """Raise ValidationError with all faults of *image*, if it has any."""
    faults: list[ImageKitError] = []

    def attempt(action: Callable[[], object]) -> Any:
        try:
            return action()
        except ImageKitError as fault:
            faults.append(fault)
            return None

    if not is_existing(image):
        attempt(lambda: repository_name(image))
    attempt(lambda: _check_base(image))
    rules = attempt(lambda: ignore_rules(image))
    for layer in image.layers:
        attempt(lambda layer=layer: read_layer(layer, rules, None))  # type: ignore[misc]
    unique = {str(fault): fault for fault in faults}
    if unique:
        raise ValidationError(tuple(unique.values()))


def _check_base(image: Image) -> None:
    base = image.base
    with located(base.origin):
        match base:
            case DebianBase():
                base_reference(image)
            case ImageBase():
                if not base.reference.startswith("docker-daemon:"):
                    Reference.parse(base.reference)
            case LayoutBase():
                layout_digest(base)
            case DockerfileBase():
                read_context(base.file, None)
            case _:
                assert_never(base)
