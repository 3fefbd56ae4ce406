"""Ops: what blocks are made of. Everything about one op lies in one folder.

An op's folder holds

* ``op.py``: the op itself, a frozen dataclass that derives from `Op`, under the name ``OP``. It says which linear layers it
  has, which rows it works on, what it multiplies, and which constants of its own the image holds;
* its parts, each a module with one value ``PART``, imported when it is first asked for:

  ================  =============================  ==========================================================
  module            type of ``PART``, from         what it says
  ================  =============================  ==========================================================
  ``layout.py``     OpLayout, plan.layout          its scratch buffers
  ``work.py``       OpWork, plan.work              what it costs, counted
  ``twin.py``       OpTwin, quant.twin             the device's arithmetic in NumPy
  ``reference.py``  OpReference, models.reference  the original's arithmetic in torch; the fake-quantized model uses it too
  ``onnx.py``       OpOnnx, exchange.onnx_graph    the op as ONNX nodes
  ``constants.py``  OpConstants, quant.model       values of its constants in the image, where it has any
  ================  =============================  ==========================================================

* ``op.c.j2``: its C function, a template.

Residual, norm and how the carry stores the result belong to the op: a block only calls its ops one after the other. Folders of
this package are found by themselves. Code outside it names its folder, a package, under the entry point "recurc.ops", or calls
`register`. A folder without ``op.py`` is what several ops share.
"""

from __future__ import annotations

from recurc.ops.base import Constant, LinearRef, Op, RmsNorm, Shape
from recurc.ops.registry import OpError, folders, part, register, registered, template, unregister

__all__ = ["Constant", "LinearRef", "Op", "OpError", "RmsNorm", "Shape", "folders", "part", "register", "registered",
           "template", "unregister"]  # fmt: skip
