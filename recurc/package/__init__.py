"""How a build is delivered: one module for each format."""
