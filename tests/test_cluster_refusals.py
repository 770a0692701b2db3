"""The API's refusals say what to do, and quote nothing that may be secret."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagekit.cluster.api_errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    QuotaError,
    UnauthorizedError,
)
from imagekit.cluster.refusal import quota_error, refusal
from imagekit.task_errors import RuntimeSystemError

_JOBS = "/apis/batch/v1/namespaces/team/jobs"
_SECRET = "hunter2-Zq"


def _refused(
    status: int,
    reason: str,
    message: str = "",
    *,
    method: str = "POST",
    path: str = _JOBS,
    **details: Any,
) -> ClusterError:
    document = {
        "kind": "Status",
        "reason": reason,
        "message": message,
        "details": details,
        "code": status,
    }
    content = json.dumps(document).encode()
    return refusal(status, content, method=method, path=path)


def _cause(field: str, reason: str, message: str) -> dict[str, str]:
    return {"field": field, "reason": reason, "message": message}


def test_missing_rule_names_verb_resource_and_namespace() -> None:
    error = _refused(
        403,
        "Forbidden",
        'pods "p" is forbidden: User "system:serviceaccount:team:runner" cannot get '
        'resource "pods/log" in API group "" in the namespace "team"',
        method="GET",
        path="/api/v1/namespaces/team/pods/p/log",
    )

    assert isinstance(error, ForbiddenError)
    assert (error.verb, error.resource, error.namespace) == ("get", "pods/log", "team")
    assert str(error) == (
        "'system:serviceaccount:team:runner' may not get pods/log in namespace 'team'"
    )
    assert error.hint is not None
    assert "docs/kubernetes.md" in error.hint
    assert not error.temporary


def test_missing_rule_of_another_group_and_of_nobody() -> None:
    error = _refused(
        403,
        "Forbidden",
        'jobs.batch is forbidden: User "system:anonymous" cannot create resource "jobs"'
        ' in API group "batch" in the namespace "team"',
    )

    assert isinstance(error, ForbiddenError)
    assert (error.verb, error.resource) == ("create", "jobs.batch")
    assert error.hint == "no credentials were sent or accepted: log in again"


def test_quota_says_what_is_left() -> None:
    error = _refused(
        403,
        "Forbidden",
        'pods "p" is forbidden: exceeded quota: compute, requested: '
        "limits.cpu=2,pods=1, used: limits.cpu=3,pods=4, limited: limits.cpu=4,pods=4",
    )

    assert isinstance(error, QuotaError)
    assert error.quota == "compute"
    assert error.requested == {"limits.cpu": "2", "pods": "1"}
    assert error.used == {"limits.cpu": "3", "pods": "4"}
    assert error.limited == {"limits.cpu": "4", "pods": "4"}
    assert str(error) == (
        "the quota 'compute' is exceeded: requested limits.cpu=2 (of 4, 3 in use), "
        "pods=1 (of 4, 4 in use)"
    )
    assert error.hint
    assert error.status == 403


def test_quota_in_an_event_and_one_that_wants_limits() -> None:
    event = 'Error creating: pods "j-x" is forbidden: failed quota: q: must specify '

    unset = quota_error(event + "limits.cpu,limits.memory")

    assert unset is not None
    assert str(unset) == ("the quota 'q' wants limits.cpu,limits.memory to be set")
    assert quota_error("Created pod: j-x") is None


def test_policy_that_refuses_a_pod_is_quoted() -> None:
    message = (
        'pods "p" is forbidden: maximum cpu usage per Container is 1, but limit is 2.'
    )

    assert "maximum cpu usage per Container is 1" in str(_refused(403, "F", message))


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (401, "Unauthorized", UnauthorizedError),
        (404, "NotFound", NotFoundError),
        (409, "AlreadyExists", AlreadyExistsError),
        (409, "Conflict", ConflictError),
        (410, "Expired", GoneError),
        (422, "Invalid", InvalidError),
        (400, "BadRequest", InvalidError),
        (413, "RequestEntityTooLarge", InvalidError),
        (418, "Teapot", ClusterError),
    ],
)
def test_status_makes_the_class(status: int, reason: str, kind: type) -> None:
    error = _refused(status, reason, method="PATCH", path=f"{_JOBS}/j")

    assert type(error) is kind
    assert isinstance(error, RuntimeSystemError)
    assert (error.status, error.reason) == (status, reason)
    assert str(error).startswith("can't patch jobs.batch 'j' in namespace 'team'")
    assert not error.temporary


def test_missing_namespace_says_how_to_make_it() -> None:
    error = _refused(
        404, "NotFound", 'namespaces "team" not found', name="team", kind="namespaces"
    )

    assert str(error) == "there is no namespace 'team'"
    assert error.hint == "kubectl create namespace team"


def test_fields_of_other_managers_are_named() -> None:
    error = _refused(
        409,
        "Conflict",
        'Apply failed with 1 conflict: conflict with "kubectl" using batch/v1: .spec.x',
        method="PATCH",
        causes=[
            _cause(".spec.x", "FieldManagerConflict", 'conflict with "kubectl" at v1')
        ],
    )

    assert str(error).endswith(".spec.x is set by 'kubectl'")


def test_causes_of_an_invalid_object_are_told() -> None:
    error = _refused(
        422,
        "Invalid",
        "all of it",
        causes=[
            _cause(
                "spec.template.spec.containers[0].resources.requests",
                "FieldValueInvalid",
                'Invalid value: "2": must be less than or equal to cpu limit',
            ),
            _cause(
                "spec.template",
                "FieldValueInvalid",
                'Invalid value: core.PodTemplateSpec{Env:"x: y"}: field is immutable',
            ),
            _cause("spec.x", "FieldValueRequired", "Required value"),
        ],
    )

    assert isinstance(error, InvalidError)
    assert error.fields == (
        (
            "spec.template.spec.containers[0].resources.requests",
            "must be less than or equal to cpu limit",
        ),
        ("spec.template", "field is immutable"),
        ("spec.x", "FieldValueRequired"),
    )


def test_field_that_no_schema_knows_is_told_at_once() -> None:
    message = (
        "failed to create typed patch object: .spec.nothing: field not declared in "
        "schema"
    )

    error = _refused(500, "", message, method="PATCH")

    assert isinstance(error, InvalidError)
    assert not error.temporary
    assert error.fields == ((".spec.nothing", "field not declared in schema"),)


_TEXTS = st.sampled_from(
    [
        _SECRET,
        f'"{_SECRET}"',
        f"a: {_SECRET}",
        f'a": {_SECRET}',
        f"{{a: {_SECRET}}}",
        f"}}: {_SECRET}",
        f"\n{_SECRET}",
    ]
)
_DETAILS = st.sampled_from(["", ": must be short", ": field is immutable", ": ", ":"])
_PATHS = st.sampled_from(
    [
        _JOBS,
        f"{_JOBS}/j",
        "/api/v1/namespaces/team/configmaps/m",
        "/api/v1/namespaces/team/secrets",
        "/version",
    ]
)


@given(
    text=_TEXTS,
    wrap=st.sampled_from(["quoted", "object", "bare"]),
    detail=_DETAILS,
    status=st.sampled_from([400, 401, 404, 409, 410, 413, 422, 429, 500, 503]),
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE"]),
    path=_PATHS,
    kind=st.sampled_from(["Invalid value", "Unsupported value", "Too long"]),
)
def test_values_are_never_quoted(
    text: str,
    wrap: str,
    detail: str,
    status: int,
    method: str,
    path: str,
    kind: str,
) -> None:
    shown = {
        "quoted": json.dumps(text),
        "object": f"core.Pod{{Env:{json.dumps(text)}}}",
        "bare": f"{text}",
    }[wrap]
    message = f"{kind}: {shown}{detail}"
    if wrap == "bare" and "\n" not in text:
        # Kubernetes quotes texts: what stands bare is a number or a keyword.
        message = f"{kind}: 17{detail}"

    error = _refused(
        status,
        "Invalid",
        f"{message}, error found in #10 byte of ...|{text}|...",
        method=method,
        path=path,
        causes=[_cause("spec.x", "FieldValueInvalid", message)],
    )

    told = f"{error} {error.hint} {error!r} {error.args} {vars(error)}"
    assert _SECRET not in told
