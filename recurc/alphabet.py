"""Characters for tokens: `dataset.json` may say which character of the user's stands for which token."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST_SYMBOLS = 1000
PADDING = "\N{WHITE SQUARE}"  # token 0, which has no character of its own


@dataclass(frozen=True)
class Alphabet:
    """`symbols`: the characters of tokens 1, 2, ... in their order; token 0 is padding.

    Raises:
        ValueError: a character is there twice, or cannot be printed. The text is a clause.
    """

    symbols: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.symbols) <= MOST_SYMBOLS:
            raise ValueError(f"there are {len(self.symbols):,} characters, where 1 to {MOST_SYMBOLS:,} can stand for tokens")
        seen: set[str] = set()
        for c in self.symbols:
            if c in seen:
                raise ValueError(f"the character {c!r} is there twice")
            if not c.isprintable() or c == PADDING:
                raise ValueError(f"the character {c!r} cannot stand for a token")
            seen.add(c)

    def tokens(self, word: str) -> list[int] | None:
        """The tokens of a word; None where a character is no symbol."""
        known = {c: i for i, c in enumerate(self.symbols, start=1)} | {PADDING: 0}
        return [known[c] for c in word] if all(c in known for c in word) else None

    def word(self, tokens: Iterable[int]) -> str | None:
        """The word that `tokens` reads as these; None where one has no character."""
        named = PADDING + self.symbols
        found = [int(t) for t in tokens]
        return "".join(named[t] for t in found) if all(0 <= t < len(named) for t in found) else None

    def drawn(self, vocab: int) -> list[str]:
        """What each token of a vocabulary is drawn as."""
        return [" ", *self.symbols, *(f"{t}" for t in range(len(self.symbols) + 1, vocab))][:vocab]
