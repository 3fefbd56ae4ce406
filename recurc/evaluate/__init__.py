"""How a model does on puzzles: stepping, halting, scores, fidelity, the gate of builds, and which layers matter."""
