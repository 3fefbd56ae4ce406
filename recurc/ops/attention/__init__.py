"""Full self-attention."""
