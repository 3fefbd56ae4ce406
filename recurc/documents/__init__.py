"""The JSON documents that recurc writes, as types: whoever makes one is held to them, and their JSON Schemas are published.

`docs/schemas` has the schemas (scripts/schemas.py makes them). The names of the fields are the contract; a field that may be
absent is NotRequired, one that may be null says None.
"""
