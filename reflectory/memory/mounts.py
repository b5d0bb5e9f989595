"""Where a memory may lie: SQLite's write-ahead log needs memory shared between processes, which no network file system gives."""

from __future__ import annotations

import re
from pathlib import Path

from reflectory.errors import MemoryFault

#: What Linux says about this process's mounts; absent elsewhere, and then nothing is refused.
MOUNTINFO = Path("/proc/self/mountinfo")

_NETWORK = "9p acfs afs beegfs ceph cifs coda davfs davfs2 glusterfs gpfs lustre ncpfs nfs nfs4 pvfs2 smb2 smb3 smbfs"
_FUSE = "afpfs blobfuse blobfuse2 ceph ceph-fuse cephfs curlftpfs davfs davfs2 gcsfuse glusterfs goofys juicefs mount-s3 rclone s3fs"
_FUSE += " smbnetfs sshfs"
NETWORK: frozenset[str] = frozenset(_NETWORK.split())
#: The same behind FUSE, where the type reads `fuse.NAME`.
FUSE: frozenset[str] = frozenset(_FUSE.split())


def refuse_network(path: Path) -> None:
    """Refuse a place on a network file system.

    Args:
        path: The memory's file, existing or not; links are followed.

    Raises:
        MemoryFault: With the file system and what to do.
    """
    try:
        text = MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    kind, point = file_system(path.resolve(), text)
    if kind in NETWORK or kind.removeprefix("fuse.") in FUSE:
        msg = (
            f"{path} lies on {point}, a {kind} network file system, where a memory would lose what is written at the same time. Put it on "
            "a local disk; to share what it knows, use `reflectory memory export` and `import`."
        )
        raise MemoryFault(msg)


def file_system(path: Path, mountinfo: str) -> tuple[str, str]:
    """The file system a path lies on.

    Args:
        path: Absolute, without links.
        mountinfo: Text in the form of /proc/self/mountinfo (proc(5)): of the mount points above the path the longest counts, of equal
            ones the last, which hides those before.

    Returns:
        Type and mount point; two empty strings when nothing matches.
    """
    best, depth = ("", ""), 0
    for line in mountinfo.splitlines():
        head, found, tail = line.partition(" - ")
        fields, kind = head.split(" "), tail.split(" ")[0]
        if not found or len(fields) < 5 or not kind:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= depth:
            best, depth = (kind, str(point)), len(point.parts)
    return best
