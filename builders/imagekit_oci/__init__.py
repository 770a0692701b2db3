"""The embedded builder: assembles OCI images itself, with no container engine.

The entry point ``embedded`` of the group ``imagekit.builders``.
"""

from __future__ import annotations

from imagekit_oci.assemble import OCIBuilder

__all__ = ["OCIBuilder"]
