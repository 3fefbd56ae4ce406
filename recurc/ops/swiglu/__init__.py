"""What the two SwiGLUs share: token mixing and channel mixing."""
