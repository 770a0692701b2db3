"""Unions: the first member that a value is of."""

from __future__ import annotations

from typing import Any

from imagekit.records import replace
from imagekit.values.codec import Codec, Json, Packing, document_bytes
from imagekit.values.misfit import Misfit, UnsupportedError, wanted
from imagekit.values.scalars import NoneCodec


class UnionCodec(Codec):
    """``A | B | None``.

    A member that fits exactly is preferred to one that fits by widening. Documents name
    the member; they don't count, because ``typing`` takes ``list[A | B]`` and
    ``list[B | A]`` for the same, and gives whichever was written first in the process.
    """

    def __init__(self, members: tuple[Codec, ...]) -> None:
        self._optional = any(isinstance(member, NoneCodec) for member in members)
        self._members: dict[str, Codec] = {}
        for member in members:
            if isinstance(member, NoneCodec):
                continue
            same = self._members.setdefault(member.label, member)
            if same is not member and same.describe(()) != member.describe(()):
                raise UnsupportedError(
                    f"a union has two members that are called {member.label}",
                    hint="give one of the classes another name",
                )
        names = sorted(self._members)
        self.label = " | ".join([*names, "None"] if self._optional else names)

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the document of the member that *value* is of."""
        if value is None and self._optional:
            return None
        if len(self._members) == 1:
            (member,) = self._members.values()
            return member.encode(value, to)
        misfits: list[Misfit] = []
        for packing in (to,) if to.exact else (replace(to, exact=True), to):
            misfits.clear()
            for label, member in self._members.items():
                try:
                    return {"$as": label, "value": member.encode(value, packing)}
                except UnsupportedError:
                    raise
                except Misfit as misfit:
                    misfits.append(misfit)
        raise self._nearest(misfits, value)

    def _nearest(self, misfits: list[Misfit], value: object) -> Misfit:
        """Return what to say: of the only member that *value* nearly is, if one is."""
        deep = [misfit for misfit in misfits if misfit.parts or misfit.hint]
        return deep[0] if len(deep) == 1 else wanted(self.label, value)

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the value, of the member that the document names."""
        if document is None and self._optional:
            return None
        if len(self._members) == 1:
            (member,) = self._members.values()
            return member.decode(document, at)
        return self._members[document["$as"]].decode(document["value"], at)

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the members, sorted: their order may differ between processes."""
        members = [member.describe(within) for member in self._members.values()]
        if self._optional:
            members.append("None")
        return {"union": sorted(members, key=document_bytes)}
