"""Values."""


def validate_collection(particle_type: int, raw: bytes) -> bytes:
    """Return the bytes to store for a list (20) or map (19) sent by a client; raises ServerError(1) when unreadable."""
    return raw
