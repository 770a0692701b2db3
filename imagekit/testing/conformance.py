"""Puts a builder through all laws."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from imagekit.builder import Builder, BuilderContext, Execution
from imagekit.plan import Step
from imagekit.platform import Platform
from imagekit.testing import (
    execution_laws,
    file_laws,
    image_laws,
    protocol_laws,
    repeat_laws,
    secret_laws,
)
from imagekit.testing.bench import Bench
from imagekit.testing.law import Law, NotApplicableError
from imagekit.testing.plans import EXECUTING
from imagekit.testing.report import ConformanceError, Outcome, Report, Result

#: All laws, in the order in which they are checked.
LAWS: tuple[Law, ...] = (
    protocol_laws.name,
    protocol_laws.accepts,
    protocol_laws.refuses,
    protocol_laws.check_is_cheap,
    image_laws.builds,
    image_laws.documents,
    image_laws.built,
    image_laws.base_layers,
    image_laws.environment,
    image_laws.workdir,
    image_laws.config,
    image_laws.created,
    image_laws.nothing_to_do,
    file_laws.entries,
    file_laws.files,
    file_laws.environment_files,
    file_laws.records,
    file_laws.base_links,
    file_laws.odd_names,
    file_laws.changed_source,
    repeat_laws.same_again,
    repeat_laws.index,
    repeat_laws.side_by_side,
    execution_laws.commands,
    execution_laws.commands_again,
    execution_laws.failure,
    execution_laws.dockerfile,
    secret_laws.secrets_stay_secret,
    secret_laws.failure_with_secret,
    secret_laws.missing_secret,
    protocol_laws.forecast,
    protocol_laws.dockerfile_writer,
)


def check_builder(
    factory: Callable[[BuilderContext], Builder],
    *,
    name: str | None = None,
    executes: bool = False,
    refuses: Collection[type[Step]] = (),
    base: str | Path | None = None,
    platforms: Sequence[str] | None = None,
    execution: Execution | None = None,
    laws: Collection[str] = (),
    raises: bool = True,
) -> Report:
    """Check a builder against all laws, and return what was found.

    Needs no network of its own, and nothing from the builder but what it says that it
    can do. Everything is written to a temporary folder. As a test, with any runner::

        def test_conformance() -> None:
            check_builder(MyBuilder, name="mine")

    Args:
        factory: makes the builder; what the entry point names.
        name: name of the entry point; None to look it up among the installed ones.
        executes: whether the builder executes commands, Dockerfiles and apt.
        refuses: further kinds of steps that the builder refuses on purpose, such as
            ``imagekit.plan.BuildDockerfile``.
        base: OCI layout to build on. A builder that executes needs one with a shell,
            coreutils and, for wheels, a Python; others get a tiny one by default.
        platforms: platforms to build for; by default amd64 and arm64, the machine's own
            first. Most laws look at the first; only on that one is anything executed.
        execution: how the builder executes, as in its context.
        laws: names of laws; only these are checked. By default, all.
        raises: whether broken laws raise an error.

    Raises:
        ConformanceError: laws are broken; it lists them all.
        ValueError: the arguments can't go together.
    """
    if executes and base is None:
        raise ValueError("a builder that executes needs a base= to execute on")
    unknown = set(laws) - {law.name for law in LAWS}
    if unknown:
        raise ValueError(f"no laws named {', '.join(sorted(unknown))}")
    with ExitStack() as stack:
        folder = stack.enter_context(
            TemporaryDirectory(
                prefix="imagekit-conformance-", ignore_cleanup_errors=True
            )
        )
        bench = Bench(
            Path(folder).resolve(),
            factory,
            name=name,
            platforms=_platforms(platforms),
            refuses=frozenset(refuses) | (frozenset() if executes else EXECUTING),
            base=Path(base) if base is not None else None,
            execution=execution or Execution(),
        )
        report = Report(
            builder=name or _own_name(bench),
            results=tuple(
                _result(law, bench) for law in LAWS if not laws or law.name in laws
            ),
        )
    if raises and not report.ok:
        raise ConformanceError(report)
    return report


def _platforms(names: Sequence[str] | None) -> tuple[Platform, ...]:
    if names is not None:
        return tuple(dict.fromkeys(map(Platform.parse, names)))
    known = [Platform("linux", "amd64"), Platform("linux", "arm64")]
    host = Platform.host()
    return tuple(sorted(known, key=lambda platform: platform != host))


def _own_name(bench: Bench) -> str:
    return str(bench.factory(bench.context(bench.store())).name)


def _result(law: Law, bench: Bench) -> Result:
    start = time.monotonic()
    outcome: Outcome
    try:
        detail = law.broken_by(bench)
        outcome = "failed" if detail else "passed"
    except NotApplicableError as reason:
        outcome, detail = "skipped", str(reason)
    except Exception as error:  # noqa: BLE001  (a builder may raise anything)
        outcome, detail = "failed", "".join(traceback.format_exception(error)).strip()
    return Result(
        law=law.name,
        statement=law.statement,
        outcome=outcome,
        detail=detail,
        seconds=time.monotonic() - start,
    )
