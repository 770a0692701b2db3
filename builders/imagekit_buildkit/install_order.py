"""What each step installs into the environment, and what it has to take away first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from imagekit.plan import (
    BuildDockerfile,
    Distribution,
    InstallAptPackages,
    InstallDistributions,
    RunCommands,
    Step,
)
from imagekit.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """What one step comes to.

    Attributes:
        number: its place among the steps that install, from 1.
        distributions: what it adds.
        replaced: names of distributions that are in the image, and must go.
    """

    number: int
    distributions: tuple[Distribution, ...]
    replaced: tuple[str, ...]


def installs(steps: Sequence[Step]) -> Mapping[int, Install]:
    """Return what the steps that install come to, by their places in *steps*.

    What a later step replaces or removes is not installed first, unless a command
    between the two may use it. So it leaves no trace in the image.
    """
    found: dict[int, Install] = {}
    present: set[str] = set()
    for run in _runs(steps):
        added: set[str] = set()
        for place, (index, step) in enumerate(run):
            later = {name for _, other in run[place + 1 :] for name in _names(other)}
            kept = tuple(item for item in step.distributions if item.name not in later)
            replaced = present.intersection(_names(step))
            present -= replaced
            added.update(item.name for item in kept)
            found[index] = Install(
                number=len(found) + 1,
                distributions=kept,
                replaced=tuple(sorted(replaced)),
            )
        present |= added
    return found


def _runs(steps: Sequence[Step]) -> Iterable[list[tuple[int, InstallDistributions]]]:
    """Yield the steps that install, in runs with no command between them."""
    run: list[tuple[int, InstallDistributions]] = []
    for index, step in enumerate(steps):
        if isinstance(step, InstallDistributions):
            run.append((index, step))
        elif isinstance(step, InstallAptPackages | RunCommands | BuildDockerfile):
            yield run
            run = []
    yield run


def _names(step: InstallDistributions) -> set[str]:
    return {*step.removed, *(item.name for item in step.distributions)}
