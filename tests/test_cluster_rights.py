"""The Roles give each right that the code uses, and none that it does not.

What is used is read from the calls in the source. Runs with these Roles, elsewhere in
these tests, show that nothing is lacking; they can't show that a right is idle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import imagekit
from imagekit.cluster.kinds import path_of, target_of
from imagekit.cluster.role import client_rules, pod_rules

SOURCE = Path(imagekit.__file__).parent
#: What each method of the cluster asks the API for.
VERBS = {
    "create": ("create",),
    "get": ("get",),
    "find": ("get",),
    "list": ("list",),
    "apply": ("patch", "create"),
    "patch": ("patch",),
    "delete": ("delete",),
    "delete_all": ("list", "delete"),
    "watch": ("list", "watch"),
    "_watch": ("list", "watch"),
}
#: The kinds of what a call names by an expression, by module and expression.
KINDS = {
    ("applying", "kind"): ("ConfigMap", "PodTemplate"),
    ("applying", "item"): ("ConfigMap", "PodTemplate"),
    ("call_objects", "found"): ("ConfigMap",),
    ("call_objects", "job"): ("Job",),
    ("call_parts", "found"): ("ConfigMap",),
    ("call_parts", "self._parcel(name, events, (), names.JOURNAL_KIND)"): (
        "ConfigMap",
    ),
    ("closing", "made"): ("ConfigMap",),
    ("deploying", "item"): ("ConfigMap", "PodTemplate"),
    ("lease_lock", "_KIND"): ("Lease",),
    ("pool_keeper", "self._pool.manifest(index)"): ("Pod",),
    ("pruning", "kind"): ("ConfigMap", "PodTemplate"),
    ("refused_call", "made"): ("ConfigMap",),
    # Told by what it is called with, which is looked at, too.
    ("callees", "kind"): (),
    ("follower", "kind"): (),
    ("pool_view", "kind"): (),
}
#: Rights that are used by the path of a request.
BY_PATH = {
    "last_words": {("get", "pods/log")},
    "lease_lock": {("delete", "leases.coordination.k8s.io")},
    "pod_logs": {("get", "pods"), ("get", "pods/log")},
}
#: What clients use of what pods do, by module; None stands for all of it.
SHARED = {
    "call_objects": {"create_call", "create_job"},
    "deployed": None,
    "last_words": None,
    "pod_events": None,
    "root_history": {"note_end"},
}


def test_a_pod_may_do_what_it_does_and_no_more() -> None:
    assert granted(pod_rules()) == used(sorted(SOURCE.glob("running/cluster/*.py")))


def test_a_client_may_do_what_it_does_and_no_more() -> None:
    files = [
        SOURCE / "attaching.py",
        SOURCE / "deploying.py",
        *(
            SOURCE / f"cluster/{name}.py"
            for name in ("applying", "pod_logs", "pruning", "server_time")
        ),
        *sorted(SOURCE.glob("remote/*.py")),
    ]
    rights = used([path for path in files if path.exists()])
    for name, functions in SHARED.items():
        rights |= used([SOURCE / f"running/cluster/{name}.py"], functions)
    assert granted(client_rules()) == rights


def granted(rules: list[dict[str, list[str]]]) -> set[tuple[str, str]]:
    return {
        (verb, f"{resource}.{group}" if group else resource)
        for rule in rules
        for verb, resource, group in product(
            rule["verbs"], rule["resources"], rule["apiGroups"]
        )
    }


def used(paths: list[Path], functions: set[str] | None = None) -> set[tuple[str, str]]:
    """Return verbs and resources that modules use, or only some of their functions."""
    found: set[tuple[str, str]] = set()
    for path in paths:
        found |= BY_PATH.get(path.stem, set())
        for node in parts(path, functions):
            for method, argument in calls(node):
                resources = [resource(kind) for kind in kinds(path.stem, argument)]
                found |= set(product(VERBS[method], resources))
    return found


def parts(path: Path, functions: set[str] | None) -> Iterator[ast.AST]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if functions is None:
        yield tree
        return
    chosen = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name in functions
    ]
    assert {node.name for node in chosen} == functions, path
    yield from chosen


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield methods of the cluster, and what says which kind each is called for."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        # As in to_thread(cluster.create, obj), too.
        for called, arguments in ((node.func, node.args), split(node.args)):
            match called:
                case ast.Name(id="watch"):
                    yield "watch", arguments[1]
                case ast.Attribute(attr="_watch"):
                    yield "_watch", arguments[0]
                case ast.Attribute(attr=name, value=owner) if name in VERBS:
                    holder = ast.unparse(owner).rpartition(".")[2]
                    if holder.strip("_") in {"cluster", "lasting"}:
                        yield name, arguments[0]
                case _:
                    pass


def split(arguments: list[ast.expr]) -> tuple[ast.expr | None, list[ast.expr]]:
    return (arguments[0], arguments[1:]) if arguments else (None, [])


def kinds(module: str, argument: ast.expr) -> tuple[str, ...]:
    match argument:
        case ast.Constant(value=str(kind)):
            return (kind,)
        case ast.Call(func=ast.Name(id="config_map")):
            return ("ConfigMap",)
        case ast.Dict(keys=keys, values=values):
            (value,) = (
                value
                for key, value in zip(keys, values, strict=True)
                if isinstance(key, ast.Constant) and key.value == "kind"
            )
            return kinds(module, value)
        case _:
            pass
    # A call that this table lacks is new: say here what it is for.
    return KINDS[module, ast.unparse(argument)]


def resource(kind: str) -> str:
    return target_of(path_of(kind, "team")).resource
