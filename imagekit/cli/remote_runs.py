"""What commands do with a run on a cluster: wait for it, or leave it alone."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from imagekit.cli.output import Output

if TYPE_CHECKING:
    from imagekit.remote.remote_run import RemoteRun

_INTERRUPTED = 130


def waited(run: RemoteRun, output: Output) -> tuple[int, Any]:
    """Return 0 and what the task returned, or the code for Ctrl-C: the run goes on.

    Raises:
        Exception: what the task raised.
    """
    try:
        return 0, run.outputs()
    except KeyboardInterrupt:
        run.stop()
        output.document |= {"name": run.name, "status": "running"}
        output.document["error"] = {"kind": "Interrupted", "message": "interrupted"}
        # Also where nothing else is said: without the name, the run would be lost.
        print(  # noqa: T201  (stderr is talk)
            f"\nnot followed any more: the run {run.name} goes on\n"
            f"  imagekit runs attach {run.name}    follows it again\n"
            f"  imagekit cancel {run.name}         ends it",
            file=sys.stderr,
        )
        return _INTERRUPTED, None


def left_alone(run: RemoteRun, output: Output) -> int:
    """Say what a run is called that is not followed."""
    output.document |= {"name": run.name, "version": run.version, "mode": run.mode}
    output.line(run.name)
    output.talk(f"the run goes on; 'imagekit runs attach {run.name}' follows it")
    return 0


def show_json(value: Any, output: Output) -> None:
    """Print a result whose classes are not here, as JSON."""
    if value is not None:
        output.line(json.dumps(readable(value), indent=2, ensure_ascii=False))


def readable(value: Any) -> Any:
    """Return what JSON can hold of *value*."""
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: readable(item) for key, item in value.items()}
        return [[readable(key), readable(item)] for key, item in value.items()]
    names = _field_names(value)
    if names is not None:
        return {name: readable(getattr(value, name)) for name in names}
    if isinstance(value, list | tuple):
        return [readable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((readable(item) for item in value), key=json.dumps)
    return _text(value)


def _field_names(value: Any) -> list[str] | None:
    """Return the names of a value's fields, if it has some that say all of it."""
    if isinstance(value, os.PathLike):
        return None
    fields = getattr(value, "_fields", None)
    if fields is None:
        fields = getattr(type(value), "__dataclass_fields__", None)
    return None if fields is None else list(fields)


def _text(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # arrays and scalars of NumPy
        return readable(value.tolist())
    return str(value)
