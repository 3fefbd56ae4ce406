"""The numeric tests on processors that this computer is not: see `__main__.py`."""
