"""A builder that keeps an SBOM beside every image.

It has another builder make the image, which stays the same byte for byte, and adds an
SPDX 2.3 document for each platform: the Python distributions of the plan, with the
hashes that they were installed by. What the base holds is not in it.

The document is an OCI artifact whose subject is the image, pushed under the tag
``sha256-<hex of the image>.sbom`` of the same repository, where cosign looks for it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from imagekit.builder import (
    Builder,
    BuilderContext,
    Built,
    BuiltImage,
    BuiltLayer,
    Intermediate,
)
from imagekit.oci import model
from imagekit.oci.document import canonical_json
from imagekit.plan import (
    Distribution,
    InstallDistributions,
    LayerDescriptor,
    Plan,
    PlatformPlan,
)
from imagekit.plugins import load
from imagekit.progress import Note

SPDX = "application/spdx+json"
EMPTY = "application/vnd.oci.empty.v1+json"


class SBOMBuilder:
    """Builds with the embedded builder, and says what is in the image."""

    def __init__(self, context: BuilderContext) -> None:
        self._context = context
        self._inner: Builder = load("embedded", context)

    @property
    def name(self) -> str:
        return "sbom"

    def check(self, plan: Plan) -> None:
        self._inner.check(plan)

    def build(self, plan: Plan) -> Built:
        built = self._inner.build(plan)
        documents = tuple(
            self._document(plan, part, image)
            for part, image in zip(plan.platforms, built.images, strict=True)
        )
        return replace(built, intermediates=(*built.intermediates, *documents))

    def _document(
        self, plan: Plan, part: PlatformPlan, image: BuiltImage
    ) -> Intermediate:
        packages = installed(part)
        content = canonical_json(spdx(plan, part, image, packages))
        artifact = self._artifact(content, image)
        note = f"SBOM of {part.platform}: {len(packages)} distributions"
        self._context.progress(Note(note))
        return Intermediate(tag=f"sha256-{image.manifest.hex}.sbom", image=artifact)

    def _artifact(self, content: bytes, image: BuiltImage) -> BuiltImage:
        """Put a document into the store, as an artifact that is about *image*."""
        store = self._context.store
        config = model.Descriptor.of(b"{}", EMPTY)
        layer = model.Descriptor.of(content, SPDX)
        subject = model.Descriptor(
            media_type=model.MANIFEST, digest=image.manifest, size=image.manifest_size
        )
        manifest = canonical_json(
            {
                "schemaVersion": 2,
                "mediaType": model.MANIFEST,
                "artifactType": SPDX,
                "config": config.to_json(),
                "layers": [layer.to_json()],
                "subject": subject.to_json(),
            }
        )
        descriptor = LayerDescriptor(
            media_type=SPDX,
            digest=store.add_blob(content),
            size=layer.size,
            diff_id=layer.digest,
        )
        return BuiltImage(
            platform=image.platform,
            manifest=store.add_blob(manifest),
            manifest_size=len(manifest),
            config=store.add_blob(b"{}"),
            config_size=config.size,
            layers=(BuiltLayer(descriptor=descriptor, title="SBOM", reused=False),),
        )


def installed(part: PlatformPlan) -> list[Distribution]:
    """Return what is in the image in the end, sorted by name."""
    found: dict[str, Distribution] = {}
    for step in part.steps:
        if isinstance(step, InstallDistributions):
            for name in step.removed:
                found.pop(name, None)
            found |= {item.name: item for item in step.distributions}
    return [found[name] for name in sorted(found)]


def spdx(
    plan: Plan, part: PlatformPlan, image: BuiltImage, packages: list[Distribution]
) -> dict[str, Any]:
    """Return the SPDX document; it says the same whenever it is made."""
    created = datetime.fromtimestamp(plan.created, UTC)
    whole = {
        "SPDXID": "SPDXRef-image",
        "name": f"{plan.content_id} ({part.platform})",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "checksums": [{"algorithm": "SHA256", "checksumValue": image.manifest.hex}],
    }
    parts = [
        {
            "SPDXID": f"SPDXRef-{number}",
            "name": item.name,
            "versionInfo": item.version,
            "packageFileName": item.filename,
            "downloadLocation": item.url or "NOASSERTION",
            "filesAnalyzed": False,
            "checksums": [{"algorithm": "SHA256", "checksumValue": item.sha256}],
        }
        for number, item in enumerate(packages)
    ]
    document = {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES"}
    contains = {"spdxElementId": "SPDXRef-image", "relationshipType": "CONTAINS"}
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": plan.content_id,
        "documentNamespace": f"urn:imagekit-sbom:{image.manifest}",
        "creationInfo": {
            "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Tool: imagekit-sbom"],
        },
        "packages": [whole, *parts],
        "relationships": [
            {**document, "relatedSpdxElement": "SPDXRef-image"},
            *({**contains, "relatedSpdxElement": item["SPDXID"]} for item in parts),
        ],
    }
