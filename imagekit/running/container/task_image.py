"""What has to be known of an image to run tasks in it."""

from __future__ import annotations

from imagekit.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskImage:
    """An image that the local engine has, with the code of a task.

    Attributes:
        reference: name or id of the image.
        python: the interpreter in it.
        runtime: folder in it with imagekit; empty if the interpreter finds one anyway.
        code: folder in it with the code; empty if modules are found anyway.
        paths: folders in it that modules are found in, beside *code*.
        module: the task's module: its name, or the path of a file below *code*.
        workdir: where the task runs; None for what the image says.
    """

    reference: str
    python: str = "python"
    runtime: str = ""
    code: str = ""
    paths: tuple[str, ...] = ()
    module: str
    workdir: str | None = None
