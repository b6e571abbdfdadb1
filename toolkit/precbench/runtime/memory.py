"""How much memory this process takes."""


def resident_bytes() -> int:
    """Return the bytes of this process that lie in memory now, shared libraries included."""
    import psutil

    return int(psutil.Process().memory_info().rss)
