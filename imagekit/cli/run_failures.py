"""How commands show that a run failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imagekit.cli.output import Output

if TYPE_CHECKING:
    from imagekit.errors import ImageKitError
    from imagekit.run_records import RunRecord
    from imagekit.task_errors import RuntimeUserError


@contextmanager
def reported(
    task: str, records: Sequence[RunRecord], output: Output, *, origin: str | None
) -> Iterator[None]:
    """Turn what a task raises in the block into an error that says so.

    Args:
        task: full name of the task.
        records: has the record of the run, as soon as it has begun.
        output: is told where it is recorded.
        origin: ``file:line`` of the task.

    Raises:
        ImageKitError: without the values of secrets.
    """
    from imagekit.errors import ImageKitError  # noqa: PLC0415  (not for --help)

    try:
        yield
    except ImageKitError as error:
        _show_run(records, output)
        _hide_secrets(error, records)
        raise
    except (Exception, SystemExit) as error:
        _show_run(records, output)
        failure = _failed(task, error, records, origin)
        _hide_secrets(failure, records)
        raise failure from error


def _show_run(records: Sequence[RunRecord], output: Output) -> None:
    """Show where a run that failed is recorded, if it had begun."""
    from imagekit.run_records import RunRecords  # noqa: PLC0415  (not for --help)

    for record in records:
        name = record.name
        view = RunRecords(record.folder.parent).open(name)
        output.document |= view.as_json()
        output.talk(f"run {name} {view.status}; 'imagekit runs {name}' shows it")


def _hide_secrets(error: ImageKitError, records: Sequence[RunRecord]) -> None:
    """Keep what the tasks know out of what is shown of *error*, as of their logs."""
    for record in records:
        hide = record.redactor
        error.message = hide(error.message)
        error.hint = error.hint and hide(error.hint)
        notes: list[str] = getattr(error, "__notes__", [])
        notes[:] = [hide(note) for note in notes]


def _failed(
    task: str,
    error: BaseException,
    records: Sequence[RunRecord],
    origin: str | None,
) -> RuntimeUserError:
    """Return what says that *task* failed, with the user's part of the traceback."""
    from imagekit.failure_texts import message_text  # noqa: PLC0415  (not for --help)
    from imagekit.failures import encode_failure, failure_text  # noqa: PLC0415
    from imagekit.task_errors import RuntimeUserError  # noqa: PLC0415

    text = message_text(error)
    kind = type(error).__name__
    failure = RuntimeUserError(
        f"the task {task!r} failed: {kind}: {text}"
        if text
        else f"the task {task!r} failed: {kind}",
        hint=f"'imagekit runs {records[0].name} --logs' shows what the tasks printed"
        if records
        else None,
        origin=origin,
    )
    failure.add_note(failure_text(encode_failure(error)))
    return failure
