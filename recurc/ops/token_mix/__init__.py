"""SwiGLU over the sequence axis."""
