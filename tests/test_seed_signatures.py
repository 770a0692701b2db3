"""Everything that the seeds document is there, with the parameters that they document.

``fixtures/seeds/README.md`` says how the documented names were collected.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, MethodType, ModuleType, UnionType
from typing import Any, Protocol, TypeAlias

import pytest

import flyte
import imagekit

SEEDS = Path(__file__).parent.parent / "fixtures" / "seeds"
FLYTE_PAGES = ("flyte-sdk", "flyte-environment")

Names: TypeAlias = list[str]


def page(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SEEDS / f"{name}.json").read_text())
    return found


def names(documented: dict[str, Any]) -> Names:
    return [item["name"] for item in documented["parameters"]]


def documented_classes() -> Iterator[Any]:
    for name in FLYTE_PAGES:
        for cls, content in page(name)["classes"].items():
            yield pytest.param(cls, content, id=f"{name}-{cls}")


def documented_methods() -> Iterator[Any]:
    for name in FLYTE_PAGES:
        for cls, content in page(name)["classes"].items():
            for method, documented in content["methods"].items():
                yield pytest.param(
                    cls, method, names(documented), id=f"{name}-{cls}.{method}"
                )


def documented_functions() -> Iterator[Any]:
    for function, documented in page("flyte-sdk")["functions"].items():
        yield pytest.param(function, names(documented), id=function)


def prefect_classes() -> Iterator[Any]:
    for cls, content in page("prefect-environments")["classes"].items():
        yield pytest.param(cls, content, id=cls)


@pytest.fixture(params=[imagekit, flyte], ids=["imagekit", "flyte"])
def api(request: pytest.FixtureRequest) -> ModuleType:
    module = request.param
    assert isinstance(module, ModuleType)
    return module


def parameters(called: Callable[..., Any]) -> Names:
    if not isinstance(called, type | FunctionType | MethodType):
        called = type(called).__call__  # a function with an .aio
    found = list(inspect.signature(called).parameters)
    return found[1:] if found[:1] == ["self"] else found


def check(called: Callable[..., Any], documented: Names) -> None:
    """The documented parameters are there, in the documented order."""
    found = parameters(called)
    assert not set(documented) - set(found)
    assert [name for name in found if name in documented] == documented


def test_the_pages_were_read_whole() -> None:
    sdk = page("flyte-sdk")

    assert len(sdk["classes"]) == 11 + 1  # classes, and a protocol
    assert len(sdk["functions"]) == 12
    assert sum(len(cls["methods"]) for cls in sdk["classes"].values()) == 32
    assert list(page("flyte-environment")["classes"]) == ["Environment"]
    assert len(page("prefect-environments")["classes"]) == 3


@pytest.mark.parametrize(("cls", "content"), list(documented_classes()))
def test_classes_take_what_is_documented(
    api: ModuleType, cls: str, content: dict[str, Any]
) -> None:
    found = getattr(api, cls)

    assert isinstance(found, type)
    if cls == "Image":  # made by its from_... methods; these are what it has
        for name in names(content):
            assert hasattr(found, name)
    elif Protocol not in found.__bases__:  # a protocol takes nothing
        check(found, names(content))


@pytest.mark.parametrize(("cls", "method", "documented"), list(documented_methods()))
def test_methods_take_what_is_documented(
    api: ModuleType, cls: str, method: str, documented: Names
) -> None:
    check(getattr(getattr(api, cls), method), documented)


@pytest.mark.parametrize(("cls", "content"), list(documented_classes()))
def test_documented_properties_are_there(
    api: ModuleType, cls: str, content: dict[str, Any]
) -> None:
    for name in content.get("properties", {}):
        assert isinstance(getattr(getattr(api, cls), name), property)


@pytest.mark.parametrize(("function", "documented"), list(documented_functions()))
def test_functions_take_what_is_documented(
    api: ModuleType, function: str, documented: Names
) -> None:
    found = getattr(api, function)

    assert callable(found)
    check(found, documented)


def test_variables_are_there(api: ModuleType) -> None:
    documented = page("flyte-sdk")["variables"]

    assert documented == {"TimeoutType": "UnionType", "__version__": "str"}
    assert isinstance(api.TimeoutType, UnionType)
    assert isinstance(api.__version__, str)


@pytest.mark.parametrize(("cls", "content"), list(prefect_classes()))
def test_prefect_environments_are_there(cls: str, content: dict[str, Any]) -> None:
    found = getattr(importlib.import_module("imagekit.prefect_environments"), cls)

    check(found, names(content))
    for name, documented in content["methods"].items():
        check(getattr(found, name), names(documented))
    signature = inspect.signature(found).parameters
    for item in content["parameters"]:
        default = signature[item["name"]].default
        assert default is (inspect.Parameter.empty if item["default"] is None else None)


@pytest.mark.parametrize("name", imagekit.__all__)
def test_every_public_name_loads(name: str) -> None:
    found = getattr(imagekit, name)

    assert getattr(flyte, name) is found
    assert not isinstance(found, ModuleType)


def test_flyte_errors_are_imagekits() -> None:
    errors = importlib.import_module("flyte.errors")
    for home in ("imagekit.errors", "imagekit.task_errors"):
        module = importlib.import_module(home)
        for name in module.__all__:
            assert name in errors.__all__
            assert getattr(errors, name) is getattr(module, name)
