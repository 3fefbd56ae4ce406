"""Fields of the C structs that lie in files, in their order."""

IMAGE_FIELDS = (
    "magic",
    "endian",
    "version_major",
    "version_minor",
    "flags",
    "arithmetic",
    "packing",
    "section_count",
    "total_bytes",
    "table_offset",
    "table_crc",
    "body_sha256",
    "architecture",
    "reserved",
    "header_crc",
)
TABLE_FIELDS = (
    "magic",
    "endian",
    "version_major",
    "version_minor",
    "flags",
    "dtype",
    "rows",
    "dim",
    "record_bytes",
    "total_low",
    "key",
    "reserved",
    "header_crc",
)
