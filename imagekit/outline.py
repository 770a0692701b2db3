"""What is known of a build without touching anything: for dry runs.

Reads the files that the definition names, and nothing else: no network, no subprocess,
no store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from imagekit.building import BuildOptions, adapt, prepare
from imagekit.contents import LayerContents
from imagekit.image import Image
from imagekit.progress import silent
from imagekit.settings import Settings


def outline(image: Image, options: BuildOptions, settings: Settings) -> dict[str, Any]:
    """Return the names of *image*, its base and its layers as a JSON document.

    Raises:
        ValidationError: the image has faults; all of them are listed.
    """
    job = prepare(adapt(image, options, settings), options, settings, silent)
    contents = job.contents
    return {
        "uri": job.uri,
        "identifier": job.image.identifier,
        "content_id": contents.content_id,
        "base": contents.base,
        "python": contents.python and ".".join(map(str, contents.python)),
        "platforms": list(contents.platform),
        "push": [str(item) for item in job.references] if job.pushes else [],
        "outputs": list(options.outputs),
        "layers": [_layer(item) for item in contents.layers],
    }


def lines(document: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that show an outline to people."""
    yield document["uri"]
    yield f"  identifier  {document['identifier']}"
    yield f"  base        {document['base'] or 'from the Dockerfile'}"
    yield f"  platforms   {', '.join(document['platforms'])}"
    for layer in document["layers"]:
        read = (
            f"  {layer['files']} files, {layer['size']} bytes" if layer["files"] else ""
        )
        yield f"  layer       {layer['kind']} ({layer['origin']}){read}"
    for place in (*document["push"], *document["outputs"]):
        yield f"  would go to {place}"


def _layer(item: LayerContents) -> dict[str, Any]:
    tree = item.tree
    return {
        "kind": item.layer.kind,
        "origin": str(item.layer.origin),
        "files": len(tree.files) if tree else len(item.reads),
        "size": tree.size if tree else 0,
    }
