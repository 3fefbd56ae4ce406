"""Packings: one file each, with pack and unpack. runtime_c/SPEC.md describes them to the bit."""

from recurc.storage.packings.apart import APART
from recurc.storage.packings.lanes import LANES
from recurc.storage.packings.packing import Packing
from recurc.storage.packings.pairs import PAIRS
from recurc.storage.packings.panels import PANELS
from recurc.storage.packings.sixteens import SIXTEENS

__all__ = ["APART", "LANES", "PAIRS", "PANELS", "SIXTEENS", "Packing"]
