"""Annotation keys that imagekit writes (OCI annotations.md, and its own)."""

from __future__ import annotations

CREATED = "org.opencontainers.image.created"
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"

#: On manifests and indexes: the content id (docs/identity.md).
CONTENT_ID = "dev.imagekit.content-id"

#: On layers: what they hold, what decided their bytes, their uncompressed digest.
TITLE = "dev.imagekit.title"
KEY = "dev.imagekit.key"
DIFF_ID = "dev.imagekit.diff-id"
