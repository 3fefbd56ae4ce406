"""A firmware held against the host, bit for bit.

The package is callable, so that `recurc.verify(build, on="qemu")` reads like the command of the same name.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurc.build.manifest import Build
    from recurc.dataset import Dataset
    from recurc.verify.result import VerifyResult


class _Callable(types.ModuleType):
    def __call__(
        self,
        build: Build | Path | str,
        on: str = "qemu",
        dataset: Dataset | None = None,
        *,
        trust: bool = False,
        **options: Any,  # of `recurc.verify.run.verify`
    ) -> VerifyResult:
        """See `recurc.verify.run.verify`; `dataset` defaults to the test split that the build knows."""
        from recurc.build.opened import as_build
        from recurc.dataset import load_dataset
        from recurc.errors import UsageError
        from recurc.verify.run import check_place, verify

        check_place(on)
        build = as_build(build, trust, 1)
        if dataset is None:
            if build.data is None:
                raise UsageError(
                    "no puzzles to run",
                    where=str(build.path),
                    why=build.no_data,
                    next="pass dataset=recurc.load_dataset(DIR, 'test')",
                )
            dataset = load_dataset(build.data, "test")
        return verify(build, on, dataset, **options)


sys.modules[__name__].__class__ = _Callable
