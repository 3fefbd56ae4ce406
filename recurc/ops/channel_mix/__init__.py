"""SwiGLU over the features of each token."""
