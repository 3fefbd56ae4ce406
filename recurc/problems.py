"""All that is wrong with some input, told at once, so that the third mistake is not found in the third run."""

from __future__ import annotations

from pathlib import Path

from recurc.errors import InputError


class Problems:
    """Collects the InputErrors of the blocks that it is used for: `with problems: ...`. Other errors pass through."""

    def __init__(self) -> None:
        self.errors: list[InputError] = []

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, InputError):
            self.errors += error.parts if isinstance(error, ManyProblems) else [error]
            return True
        return False

    def raise_all(self, where: Path, next: str) -> None:
        """Raise what was collected: a single error as it is, several as one. Nothing where there is none."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise ManyProblems(self.errors, where, next)


class ManyProblems(InputError):
    """Several problems of one dataset."""

    def __init__(self, parts: list[InputError], where: Path, next: str) -> None:
        self.parts = parts
        told = "; ".join(f"{p.what} ({p.where})" + (f": {p.why}" if p.why else "") for p in parts)
        super().__init__(f"the dataset has {len(parts)} problems", where=str(where), why=told, next=next)
