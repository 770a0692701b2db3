"""``Setting``: a row of the table of settings."""

from __future__ import annotations

from imagekit.records import dataclass
from imagekit.settings_kinds import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting: where its value goes, how it is written, what it is for.

    Attributes:
        field: attribute of :class:`imagekit.settings.Settings`, and argument.
        key: name in files.
        default: value where nothing is set, as people read it.
        example: value in a file, as TOML.
    """

    field: str
    key: str
    kind: Kind
    default: str
    example: str
    meaning: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"IMAGEKIT_{self.key.upper().replace('-', '_')}"
