"""What is written of a model: C code, linker scripts, the weights image, which is read back here too."""
