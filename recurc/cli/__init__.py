"""The command line: one module a command. Only here are click and rich imported."""
