"""``Cluster``: the few verbs that imagekit needs of the Kubernetes API.

Objects are plain JSON documents, as in manifests. How requests are sent is behind
:class:`Api`: in pods it is :mod:`imagekit.cluster.in_pod`, which needs nothing but the
standard library; on the client it is :mod:`imagekit.cluster.kubeconfig`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from imagekit.cluster.access import Api, Json
from imagekit.cluster.api_errors import (
    AlreadyExistsError,
    ConflictError,
    GoneError,
    NotFoundError,
)
from imagekit.cluster.kinds import accept_of, path_of, version_of
from imagekit.cluster.listing import PAGE, Selector, pages
from imagekit.cluster.matching import holds, is_made_from

__all__ = ["MANAGER", "Api", "Cluster", "Json", "Propagation", "Selector"]

Propagation: TypeAlias = Literal["Background", "Foreground", "Orphan"]

#: Who owns the fields that imagekit sets.
MANAGER = "imagekit"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


class Cluster:
    """Objects in a namespace: that of *api*, but for objects that name another one."""

    def __init__(self, api: Api) -> None:
        self.api = api

    @property
    def namespace(self) -> str:
        """The default namespace."""
        return self.api.namespace

    def create(self, obj: Json) -> Json:
        """Create an object and return it as it is in the cluster.

        Sent again after a fault, a create may find what it made itself: an object with
        the same labels and data is returned as if it had just been made.

        Raises:
            AlreadyExistsError: there is another object of that name.
            ClusterError: the API refuses, or is not there for too long.
        """
        kind, name, namespace = self._named(obj)
        try:
            return self.api.request(
                "POST",
                path_of(kind, namespace),
                obj,
                query={"fieldManager": MANAGER},
                accept=accept_of(kind),
            )
        except AlreadyExistsError as error:
            if error.after_fault:
                there = self.find(kind, name, namespace=namespace)
                if there is not None and is_made_from(obj, there):
                    return there
            raise

    def get(self, kind: str, name: str, *, namespace: str | None = None) -> Json:
        """Return an object; of a secret, the metadata.

        Raises:
            NotFoundError: there is none.
            ClusterError: the API refuses, or is not there for too long.
        """
        path = path_of(kind, namespace or self.namespace, name)
        return self.api.request("GET", path, accept=accept_of(kind))

    def find(
        self, kind: str, name: str, *, namespace: str | None = None
    ) -> Json | None:
        """Return an object, or None; of a secret, the metadata.

        Raises:
            ClusterError: the API refuses, or is not there for too long.
        """
        try:
            return self.get(kind, name, namespace=namespace)
        except NotFoundError:
            return None

    def list(
        self,
        kind: str,
        selector: Selector = "",
        *,
        fields: str = "",
        namespace: str | None = None,
        limit: int = PAGE,
        metadata: bool = False,
    ) -> Iterator[Json]:
        """Yield objects, a page at a time.

        Args:
            kind: of the objects.
            selector: the labels that they have.
            fields: a field selector, such as ``status.phase=Running``.
            namespace: where they are.
            limit: length of a page.
            metadata: whether their metadata is enough.

        Raises:
            ClusterError: the API refuses, or is not there for too long.
        """
        seen: set[str] = set()
        while True:
            try:
                for page in pages(
                    self.api,
                    kind,
                    selector,
                    fields=fields,
                    namespace=namespace,
                    limit=limit,
                    metadata=metadata,
                ):
                    for item in page["items"]:
                        uid = item["metadata"]["uid"]
                        if uid not in seen:
                            seen.add(uid)
                            yield item
            except GoneError:
                # It took so long that the pages no longer fit together: start again.
                continue
            return

    def apply(
        self,
        obj: Json,
        *,
        dry_run: bool = False,
        manager: str = MANAGER,
        force: bool = True,
    ) -> Json:
        """Make an object be as given, where *obj* says something, and return it.

        Args:
            obj: the fields that are *manager*'s to set. Fields that it set earlier and
                are not given now are removed.
            dry_run: whether the API only checks.
            manager: who owns the fields.
            force: whether fields are taken from other managers.

        Raises:
            ConflictError: another manager set a field, and *force* is not given.
            InvalidError: the object makes no sense.
            ClusterError: the API refuses, or is not there for too long.
        """
        kind, name, namespace = self._named(obj)
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        return self.api.request(
            "PATCH",
            path_of(kind, namespace, name),
            {"apiVersion": version_of(kind), **obj},
            query=query,
            content_type=_APPLY,
            accept=accept_of(kind),
        )

    def patch(
        self,
        kind: str,
        name: str,
        merge_body: Json,
        *,
        namespace: str | None = None,
        resource_version: str | None = None,
    ) -> Json:
        """Change some fields of an object and return it.

        Sent again after a fault, a patch may find the object as it changed it itself,
        and returns it then.

        Args:
            kind: of the object.
            name: of the object.
            merge_body: the fields as they are to be; None removes one.
            namespace: where it is.
            resource_version: what the object has to be at, unchanged.

        Raises:
            ConflictError: somebody else changed the object since *resource_version*.
            NotFoundError: there is none.
            ClusterError: the API refuses, or is not there for too long.
        """
        body = merge_body
        if resource_version is not None:
            metadata = merge_body.get("metadata") or {}
            version = {"resourceVersion": resource_version}
            body = {**merge_body, "metadata": {**metadata, **version}}
        path = path_of(kind, namespace or self.namespace, name)
        try:
            return self.api.request(
                "PATCH",
                path,
                body,
                query={"fieldManager": MANAGER},
                content_type=_MERGE,
                accept=accept_of(kind),
            )
        except ConflictError as error:
            if error.after_fault:
                there = self.find(kind, name, namespace=namespace)
                if there is not None and holds(there, merge_body):
                    return there
            raise

    def delete(
        self,
        kind: str,
        name: str,
        *,
        namespace: str | None = None,
        propagation: Propagation = "Background",
        grace: int | None = None,
        uid: str | None = None,
        missing_ok: bool = True,
    ) -> None:
        """Delete an object.

        Args:
            kind: of the object.
            name: of the object.
            namespace: where it is.
            propagation: what becomes of the objects that it owns.
            grace: seconds that a pod gets to end; None leaves it to the pod.
            uid: the one that is meant, where another may have got its name.
            missing_ok: whether it may be gone already.

        Raises:
            NotFoundError: there is none, and *missing_ok* is not given.
            ConflictError: the object of that name is another one than *uid*.
            ClusterError: the API refuses, or is not there for too long.
        """
        options: Json = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        path = path_of(kind, namespace or self.namespace, name)
        try:
            self.api.request("DELETE", path, options, accept=accept_of(kind))
        except NotFoundError as error:
            if not missing_ok and not error.after_fault:
                raise

    def delete_all(
        self,
        kind: str,
        selector: Selector,
        *,
        namespace: str | None = None,
        propagation: Propagation = "Background",
    ) -> int:
        """Delete the objects that have these labels, one by one; return how many.

        The verb ``delete`` is enough: a Role with ``deletecollection`` could delete
        all that there is.

        Raises:
            ValueError: *selector* selects everything.
            ClusterError: the API refuses, or is not there for too long.
        """
        if not selector:
            raise ValueError("wanted labels of what is to be deleted, found none")
        found = [
            item["metadata"]
            for item in self.list(kind, selector, namespace=namespace, metadata=True)
        ]
        for metadata in found:
            self.delete(
                kind,
                metadata["name"],
                namespace=namespace,
                propagation=propagation,
            )
        return len(found)

    def version(self) -> Json:
        """Return the version of the API server: ``major``, ``minor``, ``gitVersion``.

        Raises:
            ClusterError: the API refuses, or is not there for too long.
        """
        return self.api.request("GET", "/version")

    def _named(self, obj: Json) -> tuple[str, str, str]:
        metadata = obj["metadata"]
        return obj["kind"], metadata["name"], metadata.get("namespace", self.namespace)
