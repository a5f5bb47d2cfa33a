"""Whether a folder is on a file system that several computers share."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")        # Linux; elsewhere nothing is known
# Their computers do not see each other's memory, which SQLite's write-ahead log relies on.
SHARED = frozenset({"9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs",
                    "fuse.sshfs", "fuse.weka", "glusterfs", "gpfs", "lustre", "nfs", "nfs4",
                    "orangefs", "panfs", "smb3", "smbfs", "wekafs"})


def is_shared(path: Path, table: Path = MOUNTS) -> bool:
    """Tell whether a file or folder is on a known kind of shared file system."""
    if not table.is_file():
        return False
    path = Path(path).resolve()
    kinds = {}
    for line in table.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        _, place, kind, *_ = line.split(" ")
        # Blanks in names are written as octal numbers.
        kinds[Path(re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), place))] = kind
    mounted = max((place for place in kinds if path.is_relative_to(place)),
                  key=lambda place: len(place.parts), default=None)
    return kinds.get(mounted) in SHARED
