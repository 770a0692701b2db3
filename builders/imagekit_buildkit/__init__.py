"""The BuildKit builders: for what must execute, here or on a remote machine.

The entry points ``buildkit`` and ``remote`` of the group ``imagekit.builders``.
"""

from __future__ import annotations

from imagekit_buildkit.builder import BuildKitBuilder, RemoteBuilder

__all__ = ["BuildKitBuilder", "RemoteBuilder"]
