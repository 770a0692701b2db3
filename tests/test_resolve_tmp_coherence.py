"""Whatever layers ask for: the environment holds together, or the refusal is right."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from package_index import PackageIndex, packages, serve, target, wheel
from packaging.requirements import Requirement

from imagekit.errors import ResolutionError
from imagekit.layers import PipPackages
from imagekit.resolve.python import Resolved, resolve
from imagekit.store import Store

NAMES = ("alpha", "beta", "gamma", "delta")
VERSIONS = ("1.0", "2.0", "3.0")

requirement = st.tuples(
    st.sampled_from(NAMES), st.sampled_from(["", "<2", "<3", ">=2", "==1.0", "==2.0"])
).map("".join)


def requirement_after(name: str) -> st.SearchStrategy[str]:
    return requirement.filter(lambda text: text[0] > name[0])


#: What each version of each package needs; only of later names, so that it ends.
needs = st.fixed_dictionaries(
    {
        (name, version): st.lists(requirement_after(name), max_size=2)
        for name in NAMES[:2]
        for version in VERSIONS
    }
)
layers = st.lists(
    st.lists(requirement, min_size=1, max_size=2, unique=True), min_size=1, max_size=3
)


def fill(index: PackageIndex, graph: dict[tuple[str, str], list[str]]) -> None:
    for name in NAMES:
        for version in VERSIONS:
            requires = tuple(graph.get((name, version), ()))
            index.add(wheel(name, version, requires=requires))


def installed(found: tuple[Resolved, ...]) -> dict[str, str]:
    environment: dict[str, str] = {}
    for layer in found:
        for name in layer.removed:
            del environment[name]
        environment |= {item.name: item.version for item in layer.distributions}
    return environment


def faults(
    environment: dict[str, str],
    asked: list[list[str]],
    graph: dict[tuple[str, str], list[str]],
) -> list[str]:
    """Return the requirements that *environment* does not meet."""
    texts = [text for layer in asked for text in layer]
    for name, version in environment.items():
        texts += graph.get((name, version), ())
    found = []
    for text in texts:
        wanted = Requirement(text)
        if wanted.name not in environment or (
            environment[wanted.name] not in wanted.specifier
        ):
            found.append(text)
    return found


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=needs, asked=layers, more=requirement)
def test_environments_hold_together(
    graph: dict[tuple[str, str], list[str]], asked: list[list[str]], more: str
) -> None:
    with (
        serve() as index,
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"UV_CACHE_DIR": f"{folder}/uv"}),
    ):
        fill(index, graph)
        store = Store(Path(folder) / "store")
        # A second time with one requirement more, on top of what was resolved.
        for wanted in (asked, [[*asked[0], more], *asked[1:]]):
            stack = [packages(*texts, index_url=index.url) for texts in wanted]
            try:
                found = resolve(stack, target(), lineage="image", store=store)
            except ResolutionError:
                together = [text for texts in wanted for text in texts]
                whole = [packages(*together, index_url=index.url)]
                assert not _resolves(whole, Store(Path(folder) / "fresh"))
                continue

            assert faults(installed(found), wanted, graph) == []


def _resolves(stack: list[PipPackages], store: Store) -> bool:
    try:
        resolve(stack, target(), lineage="image", store=store)
    except ResolutionError:
        return False
    return True
