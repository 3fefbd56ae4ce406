"""The same verbs from Python: load, run, quantize, build.

m = recurc.load("sudoku9-mlp")
out = m.run(inputs)                                   # fp32 reference
q = m.quantize("int4", recurc.load_dataset(folder, "train"))   # the device's arithmetic from here on
q.run(inputs)
build = q.build("stm32h7", "build/sudoku9")
recurc.verify(build, on="qemu", dataset=recurc.load_dataset(folder, "test"), limit=3)
"""

from recurc.api.loading import load
from recurc.api.model import Model
from recurc.api.quantized import Quantized
from recurc.evaluate.gate import Gate
from recurc.evaluate.outputs import Outputs

__all__ = ["Gate", "Model", "Outputs", "Quantized", "load"]
