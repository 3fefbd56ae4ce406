"""The cache of compiled objects: where it is, how much it holds, and whether it is used."""

from __future__ import annotations

from recurc.cachedir import SWITCH, switched_off
from recurc.doctor.findings import NOTE, OK, Finding
from recurc.targets.objectcache import LIMIT, object_cache

CACHE = "cache"
_NAME = "compiled objects"
_MIB = 1 << 20


def check_cache() -> list[Finding]:
    """One finding; a cache that cannot be used makes builds slower and nothing wrong."""
    if switched_off():
        return [Finding(CACHE, _NAME, NOTE, f"off: {SWITCH} says so, and each build compiles everything")]
    cache = object_cache()
    if cache.folder is None:
        return [Finding(CACHE, _NAME, NOTE, "none: there is no home directory, and each build compiles everything")]
    if why := cache.refusal():
        return [Finding(CACHE, _NAME, NOTE, f"{cache.folder} is not used: {why}; each build compiles everything",
                        "Give yourself the folder, or name another directory in XDG_CACHE_HOME")]  # fmt: skip
    used = cache.usage()
    entries = "1 entry" if used.entries == 1 else f"{used.entries:,} entries"
    return [Finding(CACHE, _NAME, OK, f"{cache.folder}, {used.bytes / _MIB:.1f} of {LIMIT // _MIB} MiB in {entries}; "
                    f"remove the folder to clear it, {SWITCH}=off keeps nothing")]  # fmt: skip
