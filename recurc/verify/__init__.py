"""A firmware held against the host, bit for bit.

The package is callable, so that `recurc.verify(build, on="qemu")` reads like the command of the same name.
"""

from __future__ import annotations

import os
import sys
import types
from typing import TYPE_CHECKING, Unpack

if TYPE_CHECKING:
    from recurc.build.manifest import Build
    from recurc.dataset import Dataset
    from recurc.verify.options import Keywords
    from recurc.verify.result import VerifyResult


class _Callable(types.ModuleType):
    def __call__(
        self,
        build: Build | str | os.PathLike[str],
        on: str = "qemu",
        dataset: Dataset | None = None,
        *,
        trust: bool = False,
        **options: Unpack[Keywords],
    ) -> VerifyResult:
        """See `recurc.verify.run.verify`; `dataset` defaults to the test split that the build knows.

        Args:
            options: fields of `recurc.verify.options.RunOptions` and `Listener`: limit, steps, halt, progress, ...
        """
        from recurc.build.opened import as_build
        from recurc.dataset import load_dataset
        from recurc.errors import UsageError
        from recurc.verify.device import check_place
        from recurc.verify.options import split
        from recurc.verify.run import verify

        check_place(on)
        made = as_build(build, trust, 1)
        if dataset is None:
            if made.data is None:
                raise UsageError(
                    "no puzzles to run",
                    where=str(made.path),
                    why=made.no_data,
                    next="pass dataset=recurc.load_dataset(DIR, 'test')",
                )
            dataset = load_dataset(made.data, "test")
        return verify(made, on, dataset, *split(options))


sys.modules[__name__].__class__ = _Callable
