"""How weights are stored: forms (what the numbers are), packings (how they lie for a kernel), and the image's sections."""

from recurc.storage.channel import INT3, INT4, INT8
from recurc.storage.fp32 import FP32
from recurc.storage.grouped import GROUPED
from recurc.storage.levels import INT2

__all__ = ["FP32", "GROUPED", "INT2", "INT3", "INT4", "INT8"]
