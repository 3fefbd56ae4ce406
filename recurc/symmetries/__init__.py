"""Symmetries: other forms of a puzzle whose answer is the answer's other form, so that a model can be asked again."""

from recurc.symmetries.forms import Form, Forms, forms_for
from recurc.symmetries.grids import Grids, NoForms
from recurc.symmetries.groups import ARC, LONGEST_SYMMETRY, Group, draw, is_arc, named
from recurc.symmetries.laws import Laws, check
from recurc.symmetries.symmetry import Symmetry

__all__ = [
    "ARC",
    "LONGEST_SYMMETRY",
    "Form",
    "Forms",
    "Grids",
    "Group",
    "Laws",
    "Symmetry",
    "check",
    "draw",
    "forms_for",
    "is_arc",
    "NoForms",
    "named",
]
