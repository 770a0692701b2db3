"""What a function does, as a hash of its source.

Comments, formatting and where the docstring stands make no difference; neither do the
task's own decorator, the Python that reads it, or the place of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from imagekit.canonical import fingerprint
from imagekit.errors import DefinitionError

if TYPE_CHECKING:
    import ast

#: Fields of syntax trees that only say how something was written.
_FORMATTING = frozenset({"kind", "type_comment"})


def body_hash(func: Callable[..., Any], salt: str) -> str:
    """Return a hash of the source of *func*, as 64 hex digits.

    Functions that it calls, and values that it refers to, are no part of it.

    Raises:
        DefinitionError: there is no source.
    """
    import ast  # noqa: PLC0415  (only tasks with a cache need it)
    import inspect  # noqa: PLC0415  (as above)

    name = getattr(func, "__qualname__", repr(func))
    try:
        source = inspect.getsource(inspect.unwrap(func))
        # An indented function is put into a block: taking the indentation away would
        # change texts of several lines.
        indented = source[:1].isspace()
        tree = ast.parse(f"if True:\n{source}" if indented else source)
    except (OSError, TypeError, SyntaxError) as error:
        raise DefinitionError(
            f"the source of {name!r} can't be read: {error}",
            hint="give the cache a version: Cache('override', version_override='1')",
        ) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return fingerprint("function-body", (salt, tuple(_words(_bare(node)))))
    raise DefinitionError(f"the source of {name!r} has no function")


def _bare(node: Any) -> ast.AST:
    """Return *node*, a function, without what the task adds to it."""
    import ast  # noqa: PLC0415  (see above)
    import inspect  # noqa: PLC0415  (see above)

    if isinstance(node, ast.Lambda):
        return node
    own = [n for n, item in enumerate(node.decorator_list) if _is_task(item)]
    # What stands above the task's decorator can't have changed the function.
    if own:
        node.decorator_list = node.decorator_list[own[0] + 1 :]
    docs = ast.get_docstring(node, clean=False)
    if docs is not None:
        node.body[0] = ast.Expr(ast.Constant(inspect.cleandoc(docs)))
    return node  # type: ignore[no-any-return]  # one of the two kinds of functions


def _is_task(decorator: Any) -> bool:
    """Return whether it is ``@env.task``, ``@env.task(...)`` or plain ``@task``."""
    import ast  # noqa: PLC0415  (see above)

    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    if isinstance(decorator, ast.Name):
        return decorator.id == "task"
    return isinstance(decorator, ast.Attribute) and decorator.attr == "task"


def _words(tree: ast.AST) -> list[str]:
    """Return *tree* as texts: each node before what it holds, with its length."""
    import ast  # noqa: PLC0415  (see above)

    words: list[str] = []
    left: list[Any] = [tree]
    while left:  # no recursion: long expressions are deep trees
        item = left.pop()
        if isinstance(item, ast.AST):
            fields = _fields(item)
            words += (type(item).__name__, str(len(fields)))
            for name, value in reversed(fields):
                left += (value, _Literal(name))
        elif isinstance(item, list):
            words += ("list", str(len(item)))
            left += reversed(item)
        else:
            value = item.value if isinstance(item, _Literal) else item
            words.append(f"{type(value).__name__} {value!r}")
    return words


def _fields(node: ast.AST) -> list[tuple[str, Any]]:
    """Return what is in a node, the same in all versions of Python.

    Which empty fields there are differs, and some versions end a format with a text
    that is empty.
    """
    import ast  # noqa: PLC0415  (see above)

    if isinstance(node, ast.Constant):  # its value may be None
        return [("value", _Literal(node.value))]
    fields = [item for item in ast.iter_fields(node) if item[0] not in _FORMATTING]
    if isinstance(node, ast.JoinedStr):
        parts = [part for part in node.values if getattr(part, "value", part) != ""]
        fields = [("values", parts)]
    return [item for item in fields if item[1] is not None and item[1] != []]


class _Literal:
    """A value that is no node."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value
