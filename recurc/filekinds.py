"""What a file is that was taken for another: known by how it begins."""

from __future__ import annotations

_MAGIC = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"), (b"\x7fELF", "an ELF program"), (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"), (b"GGUF", "a GGUF file"), (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"), (b"PK\x03\x04", "a zip archive, as .npz files and checkpoints of torch are"),
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was not downloaded (git lfs pull)"),
)  # fmt: skip


def kind_of(head: bytes) -> str:
    """What a file that begins so is, in words with an article; "" for what has no sign."""
    if head.lstrip()[:1] == b"<":
        return "an HTML or XML page: perhaps a download page was saved instead of the file"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "")
