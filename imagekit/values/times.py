"""Dates, times and spans of time."""

from __future__ import annotations

import datetime as dt
from typing import Any

from imagekit.values.codec import Codec, Json, Packing
from imagekit.values.misfit import Misfit, wanted


class _Time(Codec):
    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the name of the type."""
        del within
        return self.label


class DateCodec(_Time):
    """``datetime.date``."""

    label = "date"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the day as text."""
        del to
        if type(value) is not dt.date:
            raise wanted("date", value)
        return value.isoformat()

    def decode(self, document: Json, at: Packing) -> dt.date:
        """Return the day."""
        del at
        return dt.date.fromisoformat(document)


class SpanCodec(_Time):
    """``datetime.timedelta``."""

    label = "timedelta"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return days, seconds and microseconds."""
        del to
        if type(value) is not dt.timedelta:
            raise wanted("timedelta", value)
        return _span(value)

    def decode(self, document: Json, at: Packing) -> dt.timedelta:
        """Return the span."""
        del at
        return _span_of(document)


class MomentCodec(_Time):
    """``datetime.datetime`` or ``datetime.time``, with their zones."""

    def __init__(self, kind: type[dt.datetime | dt.time]) -> None:
        self.label = kind.__name__
        self._kind = kind

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the moment as text, or with its zone."""
        del to
        if type(value) is not self._kind:
            raise wanted(self.label, value)
        local = value.replace(tzinfo=None, fold=0).isoformat()
        if value.tzinfo is None and not value.fold:
            return local
        document = {"$local": local, "zone": zone_document(value.tzinfo)}
        return {**document, "fold": 1} if value.fold else document

    def decode(self, document: Json, at: Packing) -> dt.datetime | dt.time:
        """Return the moment."""
        del at
        if isinstance(document, str):
            return self._kind.fromisoformat(document)
        local = self._kind.fromisoformat(document["$local"])
        return local.replace(
            tzinfo=zone_of(document["zone"]), fold=document.get("fold", 0)
        )


def _span(value: dt.timedelta) -> Json:
    return [value.days, value.seconds, value.microseconds]


def _span_of(document: Json) -> dt.timedelta:
    days, seconds, microseconds = document
    return dt.timedelta(days, seconds, microseconds)


def zone_document(zone: dt.tzinfo | None) -> Json:
    """Return the document of a time zone."""
    if zone is None:
        return None
    key = getattr(zone, "key", None)
    if type(zone).__module__.partition(".")[0] == "zoneinfo" and isinstance(key, str):
        return key
    # Zones of other libraries that don't depend on the date are fixed ones too.
    offset = zone.utcoffset(None)
    if offset is None:
        raise Misfit(
            f"wanted a time zone of the standard library, found {type(zone).__name__}",
            hint="use zoneinfo.ZoneInfo or datetime.timezone",
        )
    plain = dt.timezone(offset)
    name = zone.tzname(None)
    named = isinstance(zone, dt.timezone) and name != plain.tzname(None)
    return [*_span(offset), name] if named else _span(offset)


def zone_of(document: Json) -> dt.tzinfo | None:
    """Return the time zone of *document*."""
    if document is None:
        return None
    if isinstance(document, str):
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415  (slow to import)

        try:
            return ZoneInfo(document)
        except ZoneInfoNotFoundError as error:
            raise Misfit(
                f"no time zone {document!r} on this machine",
                hint="install the package 'tzdata' where this runs",
            ) from error
    offset = _span_of(document[:3])
    return dt.timezone(offset, *document[3:])
