"""What a search chooses among: variants at the most steps, with their prices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recurc.errors import DoesNotFitError
from recurc.ir.lowering import CARRIES
from recurc.models.reasoner import ReasonerConfig
from recurc.quant.weights import precision_named, precisions
from recurc.study.pricing import Price, Prices
from recurc.study.variants import Variant


@dataclass(frozen=True)
class Arm:
    """A variant at the most steps, with its price."""

    variant: Variant
    price: Price

    @property
    def bits(self) -> float:
        """Rank of its weights: bits of its precision, more where some layers have more."""
        v = self.variant
        return precision_named(v.precision).bits + sum(precision_named(p).bits for _, p in v.layers) / 1000

    def no_worse(self, other: Arm) -> bool:
        """Whether it has no fewer bits than another one of the same depth, in weights and in the carry."""
        a, b = self.variant, other.variant
        return a.schedule == b.schedule and self.bits >= other.bits and CARRIES.index(a.carry) <= CARRIES.index(b.carry)


def depths(trained: int) -> tuple[int, ...]:
    """Cycle counts up to the trained one: all small ones, then some."""
    return tuple(n for n in range(1, trained + 1) if n <= 4 or n == trained or n % 2 == 0)


def variants_of(
    config: ReasonerConfig,
    *,
    names: Sequence[str] = (),
    carries: Sequence[str] = (),
    h_cycles: Sequence[int] = (),
    l_cycles: Sequence[int] = (),
    method: str | None = None,
) -> list[Variant]:
    """All combinations at the most steps, the device's arithmetic only; empty: whatever there is, up to the trained depth."""
    names = names or tuple(name for name, p in precisions().items() if not p.lossy)
    pairs = [(name, "fp32" if precision_named(name).bits == 32 else "int8-row") for name in names]
    return [
        Variant(name, acts, method, h_cycles=h, l_cycles=low, carry=carry)
        for h in h_cycles or depths(config.H_cycles)
        for low in l_cycles or depths(config.L_cycles)
        for name, acts in pairs
        for carry in carries or CARRIES
    ]


def undominated(arms: Sequence[Arm], minimize: str) -> list[Arm]:
    """Arms without those that cost no less than another one with no fewer bits; of equals the first stays."""

    def beaten(i: int) -> bool:
        mine = arms[i].price.cost(minimize, 1)
        for j, other in enumerate(arms):
            if j != i and other.no_worse(arms[i]):
                cost = other.price.cost(minimize, 1)
                if cost < mine or (cost == mine and (j < i or not arms[i].no_worse(other))):
                    return True
        return False

    return [arm for i, arm in enumerate(arms) if not beaten(i)]


def nearest_fit(arms: Iterable[Arm], prices: Prices) -> DoesNotFitError:
    """The error where nothing fits: what lacks least, and what would help."""
    arm = min(arms, key=lambda a: a.price.missing)
    inner = prices.refusal(arm.variant)
    return DoesNotFitError(
        f"no precision and carry fits {prices.board.name}",
        where=f"nearest: {arm.variant.stored_as}",
        why=f"it needs {arm.price.missing:,} bytes more in {arm.price.region}, and no schedule changes that",
        next=inner.next if inner else "Choose a larger board",
        summary=inner.summary if inner else None,
    )
