"""The folder where runs are recorded, as they happen.

Below the records folder each run has a folder of its name::

    run.json               what was asked for; written last when a run is created
    lock                   held by the process that runs it, as long as it lives
    events.jsonl           one event a line, in the order in which they came
    logs/<action>.log      what each task printed
    reports/<action>.html  the pages of tasks with ``report=True``

Nothing is rewritten, so that a process which dies leaves all it had recorded. No value
of a secret gets here: everything goes through a redactor.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from pathlib import Path

from imagekit.errors import DefinitionError
from imagekit.nearest import suggestion
from imagekit.records import dataclass
from imagekit.redaction import Redactor
from imagekit.run_record import RunRecord, disk_errors, write_whole
from imagekit.run_view import LOCK, META, RunView, is_held
from imagekit.task_errors import RuntimeSystemError, RuntimeUserError

__all__ = ["RUNS", "RunRecord", "RunRecords", "RunView"]

#: Folder of the runs in that of the setting ``record-dir``.
RUNS = "runs"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_VERSION = 1
_RANDOM_BYTES = 3
#: Up to so many runs are named where somebody asks for one that is not there.
_FEW = 5


@dataclass(frozen=True, slots=True)
class RunRecords:
    """The runs that are recorded in *folder*, which is made on first use."""

    folder: Path

    def create(
        self,
        name: str | None = None,
        *,
        task: str,
        mode: str,
        version: str = "",
        labels: tuple[tuple[str, str], ...] = (),
        annotations: tuple[tuple[str, str], ...] = (),
        redactor: Redactor | None = None,
        started: float | None = None,
    ) -> RunRecord:
        """Return the record of a new run.

        Args:
            name: its name; by default one is made up.
            task: full name of the task that it is of.
            mode: where its tasks run.
            version: version of the code.
            labels: what users find it by.
            annotations: what users note of it.
            redactor: what is kept out of the record.
            started: when it began, in seconds since the epoch; by default now.

        Raises:
            DefinitionError: *name* can't be the name of a run.
            RuntimeUserError: there is a run of that name.
            RuntimeSystemError: the folder can't be written to.
        """
        redactor = redactor or Redactor()
        folder = self._new_folder(name)
        with disk_errors(folder):
            lock = (folder / LOCK).open("wb")
            fcntl.flock(lock, fcntl.LOCK_EX)
        record = RunRecord(folder, lock, redactor)
        document = {
            "version": _VERSION,
            "name": folder.name,
            "task": task,
            "mode": mode,
            "code": version,
            "labels": redactor.document(labels),
            "annotations": redactor.document(annotations),
            "started": time.time() if started is None else started,
        }
        write_whole(folder / META, json.dumps(document, indent=1).encode())
        return record

    def names(self) -> tuple[str, ...]:
        """Return the names of all runs, the latest first."""
        found = []
        try:
            with os.scandir(self.folder) as items:
                for item in items:
                    try:
                        status = os.stat(os.path.join(item.path, META))
                    except (FileNotFoundError, NotADirectoryError):
                        continue  # being made, being removed, or nothing of ours
                    found.append((status.st_mtime_ns, item.name))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise _unreadable(self.folder, error) from error
        return tuple(name for _, name in sorted(found, reverse=True))

    def open(self, name: str) -> RunView:
        """Return what is recorded of the run *name* until now.

        Raises:
            RuntimeUserError: there is no run of that name.
            RuntimeSystemError: it can't be read.
        """
        folder = self._folder_of(name)
        try:
            return RunView.read(folder)
        except FileNotFoundError as error:
            raise self._unknown(name) from error
        except OSError as error:
            raise _unreadable(folder, error) from error

    def remove(self, name: str) -> None:
        """Remove the record of a run that is over.

        Raises:
            RuntimeUserError: there is no run of that name, or it is running.
            RuntimeSystemError: it can't be removed.
        """
        if self.open(name).status == "running":
            raise RuntimeUserError(
                f"can't remove the record of {name!r}, which is running",
                hint="stop the run first",
            )
        folder = self._folder_of(name)
        with disk_errors(folder):
            (folder / META).unlink()  # from here on it is not there
            shutil.rmtree(folder)

    def discard(self, name: str) -> bool:
        """Remove what is left of a run of that name; return whether it is gone.

        It stays if a process is recording it. Unlike :meth:`remove`, it is for records
        that can be made again: one that is damaged or half made is no error.

        Raises:
            RuntimeSystemError: it can't be removed.
        """
        folder = self._folder_of(name)
        if is_held(folder / LOCK):
            return False
        rubbish = self.folder / f".{name}-{os.urandom(_RANDOM_BYTES).hex()}"
        with disk_errors(folder):
            try:
                (folder / META).unlink(missing_ok=True)  # it is not listed any more
                folder.rename(rubbish)
            except (FileNotFoundError, NotADirectoryError):
                return True
            shutil.rmtree(rubbish)
        return True

    def _folder_of(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise self._unknown(name)
        return self.folder / name

    def _unknown(self, name: str) -> RuntimeUserError:
        names = self.names()
        hint = "nothing was run yet"
        if names:
            hint = suggestion(name, names)
            if len(names) > _FEW and not hint.startswith("did"):
                hint = f"'imagekit runs' lists them; the latest is {names[0]!r}"
        return RuntimeUserError(f"no run {name!r} in {str(self.folder)!r}", hint=hint)

    def _new_folder(self, name: str | None) -> Path:
        """Make the folder of a new run; that it can be made once decides who has it."""
        if name is not None and not _NAME.fullmatch(name):
            raise DefinitionError(
                f"wanted the name of a run, found {name!r}",
                hint="up to 100 letters, digits, '.', '_' and '-'; the first is a "
                "letter or a digit",
            )
        with disk_errors(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            folder = self.folder / (name or made_up_name())
            with disk_errors(folder):
                try:
                    folder.mkdir(mode=0o700)
                except FileExistsError:
                    if name is None:
                        continue
                    raise RuntimeUserError(
                        f"there is a run named {name!r} already",
                        hint="choose another name, or leave it to imagekit",
                    ) from None
                return folder


def made_up_name() -> str:
    """Return a name for a run that no other has."""
    now = time.strftime("%Y%m%d-%H%M%S")
    return f"r{now}-{os.urandom(_RANDOM_BYTES).hex()}"


def _unreadable(place: Path, error: OSError) -> RuntimeSystemError:
    return RuntimeSystemError(
        f"can't read the records of runs in {str(place)!r}: {error.strerror}",
        hint="make the folder readable, or name another one with 'record-dir'",
    )
