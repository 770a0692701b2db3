"""Show each setting, its value and where it comes from."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from imagekit.cli.output import Output
from imagekit.cli.usage import Parser

EXAMPLES = "docs/settings.md describes the settings.\n"


def configure(_parser: Parser) -> None:
    """Add nothing: there are no options."""


def run(_arguments: Namespace, output: Output) -> int:
    """Print the settings that hold here."""
    from imagekit.settings import load_settings  # noqa: PLC0415  (not for --help)
    from imagekit.settings_table import SETTINGS  # noqa: PLC0415

    settings = load_settings()
    rows = [
        {
            "key": item.key,
            "value": _plain(item.field, getattr(settings, item.field)),
            "source": settings.sources[item.field],
        }
        for item in SETTINGS
    ]
    output.document["settings"] = rows
    output.document["files"] = [str(path) for path in settings.files]
    texts = [_text(row["key"], row["value"]) for row in rows]
    keys = max(len(item.key) for item in SETTINGS)
    values = min(max(map(len, texts)), 40)
    for row, text in zip(rows, texts, strict=True):
        output.line(f"{row['key']:{keys}}  {text:{values}}  {row['source']}")
    return 0


def _plain(field: str, value: Any) -> Any:
    """Return *value* as JSON has it, without a password."""
    if field == "remote" and value:
        from imagekit.oci.address import redact  # noqa: PLC0415  (rarely needed)

        return redact(value)
    if isinstance(value, tuple):
        return [list(item) if isinstance(item, tuple) else item for item in value]
    return value if isinstance(value, int | None) else str(value)


def _text(key: str, value: Any) -> str:
    if value is None or value == []:
        return "-"
    if key == "cache-cap":
        from imagekit.cli.sizes import size_text  # noqa: PLC0415  (beside its use)

        return size_text(value)
    if isinstance(value, list):
        return ", ".join(
            item if isinstance(item, str) else "=".join(item) for item in value
        )
    return str(value)
