"""Symmetries: other forms of a puzzle whose answer is the answer's other form, so that a model can be asked again."""

from recurc.symmetries.groups import LONGEST_SYMMETRY, Group, draw, named
from recurc.symmetries.laws import Laws, check
from recurc.symmetries.symmetry import Symmetry

__all__ = ["LONGEST_SYMMETRY", "Group", "Laws", "Symmetry", "check", "draw", "named"]
