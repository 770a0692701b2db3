"""What objects on a cluster are called, and the labels that they are found by.

Names and label values have to be short and plain there. What is not is spelled plainly,
with a hash of the original behind it, so that different things never share a name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

#: Labels of every object that imagekit makes.
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "imagekit"
KIND = "imagekit/kind"

#: What an object is for: values of :data:`KIND`.
ENVIRONMENT_KIND = "environment"
CURRENT_KIND = "current"
TEMPLATE_KIND = "template"
RUN_KIND = "run"
CALL_KIND = "call"
RESULT_KIND = "result"
JOURNAL_KIND = "journal"
CACHED_KIND = "cached"
POOL_KIND = "pool"

#: Labels that tell what an object belongs to.
ENVIRONMENT = "imagekit/environment"
VERSION = "imagekit/version"
TASK = "imagekit/task"
RUN = "imagekit/run"
ACTION = "imagekit/action"
#: Name of the call object of the action that calls; absent for a run's own task.
CALLER = "imagekit/caller"
ATTEMPT = "imagekit/attempt"
POOL = "imagekit/pool"
#: Who has a call of a pool: see :mod:`imagekit.running.cluster.pool_claims`.
CLAIM = "imagekit/claim"

#: Annotation of objects whose image is named by a tag, not by its digest.
UNPINNED = "imagekit/unpinned"

#: Characters that names of pods, and values of labels, may have.
NAME_LENGTH = 63
_ODD = re.compile(r"[^a-z0-9-]+")
_LABEL = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_HASH = 8
#: Hex digits of a version that are part of names.
_SHORT = 12


def object_name(*parts: str, length: int = NAME_LENGTH) -> str:
    """Return the name of the object that *parts* tell from all others.

    It is a DNS label: at most *length* lower-case letters, digits and ``-``. Other
    parts give another name.
    """
    plain = "-".join(_ODD.sub("-", part.lower()).strip("-") for part in parts)
    if plain == "-".join(parts) and len(plain) <= length and _is_clear(parts):
        return plain
    digest = _digest(parts)
    kept = plain[: length - _HASH - 1].strip("-")
    return f"{kept}-{digest}" if kept else f"x{digest}"


def version_part(version: str) -> str:
    """Return a version as part of names: computed ones are cut."""
    if re.fullmatch(r"[0-9a-f]{40,64}", version):
        return version[:_SHORT]
    return version


def environment_name(environment: str, version: str) -> str:
    """Return the name of the object that describes a version of an environment."""
    return object_name("ik-env", environment, version_part(version))


def current_name(environment: str) -> str:
    """Return the name of the object that says which version is the current one."""
    return object_name("ik-current", environment)


def template_name(task: str, version: str) -> str:
    """Return the name of the pod template of a version of a task."""
    return object_name("ik-task", task, version_part(version))


def run_name(run: str) -> str:
    """Return the name of the object that describes a run."""
    return object_name("ik-run", run)


def run_name_of(labels: Mapping[str, str]) -> str:
    """Return the name of the object of the run that an object with *labels* is of.

    A run's name is a label as it is: others are refused when a run begins.
    """
    return run_name(labels[RUN])


def call_name(run: str, action: str, attempt: int) -> str:
    """Return the name of the object of a call, of its Job and of its pods' prefix.

    Attempt 0 stands for a call whose attempts all run in one pod, as those of a run's
    own task do.
    """
    tail = action.replace(".", "-")
    # Pods get a suffix of six characters.
    return object_name("ik", run, tail, str(attempt), length=NAME_LENGTH - 6)


def result_name(call: str) -> str:
    """Return the name of the object with the result of the call object *call*."""
    return f"{call}.result"


def journal_name(call: str, number: int) -> str:
    """Return the name of the object with a part of what happened in a call."""
    return f"{call}.j{number:05d}"


def label_value(text: str) -> str:
    """Return *text* as the value of a label; other texts have other values."""
    if _LABEL.fullmatch(text):
        return text
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[: NAME_LENGTH - _HASH - 1]
    return f"{plain.strip('._-') or 'x'}-{_digest((text,))}"


def selector(**labels: str) -> str:
    """Return a label selector; keys are names of this module in lower case."""
    keys = {
        "kind": KIND,
        "environment": ENVIRONMENT,
        "version": VERSION,
        "task": TASK,
        "run": RUN,
        "action": ACTION,
        "caller": CALLER,
        "pool": POOL,
    }
    pairs = [f"{MANAGED_BY}={MANAGER}"]
    pairs += [f"{keys[key]}={value}" for key, value in labels.items()]
    return ",".join(pairs)


def _is_clear(parts: tuple[str, ...]) -> bool:
    """Return whether no other parts are spelled like *parts*.

    Runs, actions and versions are free texts: only the last two or three parts can be
    told apart where one of them has a dash in it.
    """
    return all("-" not in part for part in parts[1:-1])


def _digest(parts: tuple[str, ...]) -> str:
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_HASH]
