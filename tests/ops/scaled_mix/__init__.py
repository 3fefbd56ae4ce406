"""An op from outside the package: everything about it is in this folder."""
