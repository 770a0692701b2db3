"""Dataclasses that cost next to nothing to define.

The standard library writes, compiles and runs the source of six methods for each
dataclass, and imports ``inspect`` to do so: a third of what ``imagekit build`` took
when nothing had changed. Here all methods are shared, and a class gets an ``__init__``
of its own, which is faster, once some instances have been made. To type checkers and
to the functions of :mod:`dataclasses` (``fields``, ``replace``, ``asdict``) the classes
are dataclasses.

The differences: annotations have to be texts (``from __future__ import annotations``),
a class inherits fields from no other, and there are slots always.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace

__all__ = ["compared", "dataclass", "field", "is_record", "replace"]


class _Missing:
    """The type of the mark for "no value"."""


_MISSING: Any = _Missing()
#: From here on, compiling ``__init__`` is worth it.
_INSTANCES = 20


class _Field:
    """What is known of a field."""

    __slots__ = ("compare", "default", "default_factory", "name", "repr")

    def __init__(
        self,
        default: Any = _MISSING,
        default_factory: Any = _MISSING,
        compare: bool = True,
        repr: bool = True,  # noqa: A002  (as in dataclasses)
    ) -> None:
        self.name = ""
        self.default = default
        self.default_factory = default_factory
        self.compare = compare
        self.repr = repr


class _Record:
    """What the decorator keeps of a class.

    Attributes:
        fields: its fields, in order.
        compared: names of those that take part in comparisons.
    """

    __slots__ = ("compared", "fields", "frozen", "kw_only")

    def __init__(self, fields: list[_Field], frozen: bool, kw_only: bool) -> None:
        self.fields = fields
        self.compared = tuple(item.name for item in fields if item.compare)
        self.frozen = frozen
        self.kw_only = kw_only


def is_record(value: object) -> bool:
    """Return whether *value* is an instance of a class of this module."""
    return hasattr(type(value), "__record__")


def compared(value: Any) -> tuple[str, ...]:
    """Return the names of the fields of *value* that make its identity, in order."""
    record: _Record = value.__record__
    return record.compared


def _key(value: Any) -> tuple[Any, ...]:
    return tuple([getattr(value, name) for name in value.__record__.compared])


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _key(self) == _key(other)


def _hash(self: Any) -> int:
    return hash(_key(self))


def _lt(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _key(self) < _key(other)


def _le(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _key(self) <= _key(other)


def _repr(self: Any) -> str:
    shown = ", ".join(
        f"{item.name}={getattr(self, item.name)!r}"
        for item in self.__record__.fields
        if item.repr
    )
    return f"{type(self).__qualname__}({shown})"


def _setattr(self: Any, name: str, _value: object) -> NoReturn:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415  (slow to import)

    raise FrozenInstanceError(f"cannot assign to field {name!r} of {type(self)!r}")


def _delattr(self: Any, name: str) -> NoReturn:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415  (slow to import)

    raise FrozenInstanceError(f"cannot delete field {name!r} of {type(self)!r}")


def _getstate(self: Any) -> list[object]:
    return [getattr(self, item.name) for item in self.__record__.fields]


def _setstate(self: Any, state: list[object]) -> None:
    for item, value in zip(self.__record__.fields, state, strict=True):
        object.__setattr__(self, item.name, value)


def _replace(self: Any, /, **changes: object) -> Any:
    for item in self.__record__.fields:
        if item.name not in changes:
            changes[item.name] = getattr(self, item.name)
    return type(self)(**changes)


class _Lazy:
    """A class attribute that is made when it is asked for."""

    def __init__(self, make: Callable[[type], object]) -> None:
        self._make = make

    def __get__(self, _instance: object, owner: type) -> object:
        return self._make(owner)


class _LazySignature(_Lazy):
    """The signature of a class; instances that can be called have another one."""

    def __get__(self, instance: object, owner: type) -> object:
        if instance is not None:
            raise AttributeError("__signature__")
        return self._make(owner)


def _signature(owner: type) -> object:
    """Return what ``inspect.signature`` of the class should say."""
    import inspect  # noqa: PLC0415  (slow to import)

    signature = inspect.signature(_made_init(owner))
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _fields(owner: Any) -> object:
    """Return the fields as :mod:`dataclasses` knows them."""
    import dataclasses  # noqa: PLC0415  (slow to import)

    record: _Record = owner.__record__
    annotations = owner.__annotations__
    shadow: Any = dataclasses.make_dataclass(
        owner.__name__,
        [
            (
                item.name,
                annotations[item.name],
                dataclasses.field(
                    default=_or(item.default, dataclasses.MISSING),
                    default_factory=_or(item.default_factory, dataclasses.MISSING),
                    compare=item.compare,
                    repr=item.repr,
                ),
            )
            for item in record.fields
        ],
        kw_only=record.kw_only,
    )
    return shadow.__dataclass_fields__


def _or(value: Any, missing: Any) -> Any:
    return missing if value is _MISSING else value


_SHARED = {
    "__eq__": _eq,
    "__getstate__": _getstate,
    "__setstate__": _setstate,
    "__replace__": _replace,
    "__signature__": _LazySignature(_signature),
    "__dataclass_fields__": _Lazy(_fields),
}
_FROZEN = {"__hash__": _hash, "__setattr__": _setattr, "__delattr__": _delattr}
_ORDER = {"__lt__": _lt, "__le__": _le}


def _made_init(owner: Any) -> Callable[..., None]:
    """Return ``__init__`` of a class, written and compiled."""
    record: _Record = owner.__record__
    names: dict[str, object] = {"_missing": _MISSING}
    parameters, body = ["self"], ["pass"]
    if record.kw_only and record.fields:
        parameters.append("*")
    for item in record.fields:
        name = item.name
        names[f"_set_{name}"] = owner.__dict__[name].__set__
        value = name
        if item.default is not _MISSING:
            names[f"_default_{name}"] = item.default
            parameters.append(f"{name}=_default_{name}")
        elif item.default_factory is not _MISSING:
            names[f"_make_{name}"] = item.default_factory
            parameters.append(f"{name}=_missing")
            value = f"_make_{name}() if {name} is _missing else {name}"
        else:
            parameters.append(name)
        body.append(f"_set_{name}(self, {value})")
    if hasattr(owner, "__post_init__"):
        body.append("self.__post_init__()")
    lines = "\n ".join(body)
    exec(f"def __init__({', '.join(parameters)}):\n {lines}", names)  # noqa: S102  (as dataclasses does, from names of fields only)
    made: Any = names["__init__"]
    made.__qualname__ = f"{owner.__qualname__}.__init__"
    made.__annotations__ = {
        **{item.name: owner.__annotations__[item.name] for item in record.fields},
        "return": None,
    }
    return made  # type: ignore[no-any-return]  # a function that was just defined


def _first_init(cls: Any) -> Callable[..., None]:
    """Return an ``__init__`` that replaces itself after some instances."""
    record: _Record = cls.__record__
    setters = [(item, cls.__dict__[item.name].__set__) for item in record.fields]
    named = {item.name for item in record.fields}
    positional = 0 if record.kw_only else len(setters)
    after = getattr(cls, "__post_init__", None)
    left = _INSTANCES

    def __init__(self: Any, *args: Any, **values: Any) -> None:  # noqa: N807
        nonlocal left
        left -= 1
        odd = len(args) > positional or (args and values)
        if left < 0 or odd or not values.keys() <= named:
            # The real one says what is wrong with the arguments. Another thread may
            # be here too: both make the same.
            made = cls.__init__ = _made_init(cls)
            made(self, *args, **values)
            return
        for index, (item, set_) in enumerate(setters):
            if index < len(args):
                set_(self, args[index])
            elif item.name in values:
                set_(self, values[item.name])
            elif item.default is not _MISSING:
                set_(self, item.default)
            elif item.default_factory is not _MISSING:
                set_(self, item.default_factory())
            else:
                _made_init(cls)(self, *args, **values)
        if after is not None:
            after(self)

    return __init__


def _collected(cls: type, namespace: dict[str, Any]) -> list[_Field]:
    """Return the fields of a class; their defaults leave its namespace."""
    found = []
    for name, annotation in cls.__annotations__.items():
        if annotation.startswith("ClassVar"):
            continue
        default = namespace.pop(name, _MISSING)
        item = default if isinstance(default, _Field) else _Field(default)
        item.name = name
        found.append(item)
    return found


def _defined(
    cls: type, *, frozen: bool, kw_only: bool, order: bool, init: bool, repr_: bool
) -> Any:
    namespace = dict(cls.__dict__)
    fields = _collected(cls, namespace)
    namespace.pop("__dict__", None)
    namespace.pop("__weakref__", None)
    namespace["__slots__"] = tuple([item.name for item in fields])
    namespace["__record__"] = _Record(fields, frozen, kw_only)
    if not kw_only:
        namespace["__match_args__"] = namespace["__slots__"]
    methods: dict[str, Any] = dict(_SHARED)
    methods |= _FROZEN if frozen else {"__hash__": None}
    if order:
        methods |= _ORDER
    if repr_:
        methods["__repr__"] = _repr
    for name, method in methods.items():
        namespace.setdefault(name, method)
    made: Any = type(cls)(cls.__name__, cls.__bases__, namespace)
    made.__qualname__ = cls.__qualname__
    if init:
        made.__init__ = _first_init(made)
    return made


if not TYPE_CHECKING:

    def field(
        *,
        default: Any = _MISSING,
        default_factory: Any = _MISSING,
        compare: bool = True,
        repr: bool = True,  # noqa: A002  (as in dataclasses)
    ) -> Any:
        """Return what says more of a field than its default; see ``dataclasses``."""
        return _Field(default, default_factory, compare, repr)

    def replace(value: Any, /, **changes: object) -> Any:
        """Return *value* with other values for some fields; see ``dataclasses``."""
        return _replace(value, **changes)

    def dataclass(
        *,
        frozen: bool = False,
        slots: bool,
        kw_only: bool = False,
        order: bool = False,
        init: bool = True,
        repr: bool = True,  # noqa: A002  (as in dataclasses)
    ) -> Callable[[type], Any]:
        """Make a class a dataclass; parameters as in :mod:`dataclasses`."""
        assert slots
        return lambda cls: _defined(
            cls, frozen=frozen, kw_only=kw_only, order=order, init=init, repr_=repr
        )
