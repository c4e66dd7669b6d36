"""The memory of this machine: what programs may still take of it, and what this process holds."""

from __future__ import annotations

from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def free_memory(group: Path = _CGROUP) -> int:
    """Return the bytes of memory that programs may still take, under the limit of a container where there is one."""
    import psutil

    free = psutil.virtual_memory().available
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:  # no control group of the second version: no limit
        return free
    return min(free, max(0, int(limit) - int(used))) if limit.isdecimal() and used.isdecimal() else free


def held_memory() -> int:
    """Return the bytes that this process holds alone; pages of files are not counted, and 0 where nobody can tell."""
    import psutil

    held = psutil.Process().memory_info()
    return max(0, held.rss - getattr(held, "shared", held.rss))
