"""For those who write builders: the laws that every builder keeps, as a test.

::

    from imagekit.testing import check_builder

    def test_conformance() -> None:
        check_builder(MyBuilder, name="mine")

See ``docs/builders.md``. Nothing in imagekit imports this package, and it imports no
builder and no test runner.
"""

from __future__ import annotations

from imagekit.testing.conformance import LAWS, check_builder
from imagekit.testing.law import Law
from imagekit.testing.report import ConformanceError, Report, Result

__all__ = ["LAWS", "ConformanceError", "Law", "Report", "Result", "check_builder"]
