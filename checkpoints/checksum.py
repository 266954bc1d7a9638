"""The checksum files that Hadoop writes beside files on a local disk: `.<name>.crc`, a CRC32 of every so many bytes.

Spark reads a checkpoint file only together with its checksum. A file that does not fit fails the query at every start with an
error that looks as if repeating might help; asked here first, it is refused once and by name.
Layout: `crc` and a NUL byte, bytes per sum (4 bytes, big-endian), then one sum (4 bytes, big-endian) for each such part.
Measured on files of Spark 4.2 (Hadoop 3.5).
"""

import struct
import zlib

_HEADER = b"crc\0"


def checksum_name(name: str) -> str:
    """The checksum file of a file, in the same folder."""
    above, slash, last = name.rpartition("/")
    return f"{above}{slash}.{last}.crc"


def fits(data: bytes, checksum: bytes) -> bool:
    """Whether `checksum`, a whole checksum file, is that of `data`. One in an unknown layout judges nothing: True."""
    if len(checksum) < len(_HEADER) + 4 or not checksum.startswith(_HEADER):
        return True
    (size,) = struct.unpack_from(">I", checksum, len(_HEADER))
    if size == 0:
        return True
    sums = b"".join(struct.pack(">I", zlib.crc32(data[at : at + size])) for at in range(0, len(data), size))
    return checksum[len(_HEADER) + 4 :] == sums


__all__ = ["checksum_name", "fits"]
