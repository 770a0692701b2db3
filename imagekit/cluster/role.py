"""What imagekit may do on a cluster: the least that it gets along with.

Neither a user nor a task's pod may read Secrets: the kubelet hands them to containers.
"""

from __future__ import annotations

from imagekit.cluster.documents import Json

_API = "rbac.authorization.k8s.io"
_VERSION = f"{_API}/v1"

#: Names of the Roles of those who deploy and run, and of the pods.
CLIENT = "imagekit"
POD = "imagekit-pod"


def client_rules() -> list[Json]:
    """Return what somebody may do who deploys, runs and follows tasks."""
    return [
        _rule("", "configmaps", "get list watch create patch delete"),
        _rule("", "podtemplates", "get list create patch delete"),
        _rule("batch", "jobs", "get list watch create delete"),
        _rule("", "pods", "get list watch delete"),
        _rule("", "pods/log", "get"),
        _rule("", "events", "list"),
    ]


def pod_rules() -> list[Json]:
    """Return what the pod of a task may do, for the tasks that its own calls."""
    return [
        _rule("", "configmaps", "get list watch create patch delete"),
        _rule("", "podtemplates", "get"),
        _rule("batch", "jobs", "get list create delete"),
        _rule("", "pods", "get list watch create delete"),
        _rule("", "pods/log", "get"),
        _rule("", "events", "list"),
        _rule("coordination.k8s.io", "leases", "get create patch delete"),
    ]


def role(name: str, rules: list[Json], namespace: str) -> Json:
    """Return the Role *name* in *namespace*, with *rules*."""
    return {
        "apiVersion": _VERSION,
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace},
        "rules": rules,
    }


def binding(name: str, subject: Json, namespace: str) -> Json:
    """Return what gives the Role *name* to *subject*."""
    return {
        "apiVersion": _VERSION,
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": _API, "kind": "Role", "name": name},
        "subjects": [subject],
    }


def service_account(name: str, namespace: str) -> Json:
    """Return a ServiceAccount as the subject of a binding."""
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def user(name: str) -> Json:
    """Return a user, as the API server calls him, as the subject of a binding."""
    return {"apiGroup": _API, "kind": "User", "name": name}


def _rule(group: str, resource: str, verbs: str) -> Json:
    return {"apiGroups": [group], "resources": [resource], "verbs": verbs.split()}
