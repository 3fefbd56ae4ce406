"""The command line: one file a command, beside `main`; what commands share is in `common`. Only here are click and rich
imported."""
