"""Putting a build's firmware on a board, and reading back that it got there whole."""

from recurc.flash.run import FlashResult, Piece, flash, stop
from recurc.flash.weights import write_weights

__all__ = ["FlashResult", "Piece", "flash", "stop", "write_weights"]
