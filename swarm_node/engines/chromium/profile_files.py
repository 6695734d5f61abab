"""Which files of a Chromium profile make a session.

Owns the list and the reason for each entry. Pure: reads nothing. Paths are relative to the
profile directory (Chromium's user data directory); patterns are matched against a file's name.
"""

from typing import Final

from swarm_node.engines.chromium import link_mark
from swarm_node.engines.contract import SnapshotFiles

SNAPSHOT_FILES: Final = SnapshotFiles(
    include=(
        # Without it a page with a code would mean "never linked", not "unlinked".
        link_mark.NAME,
        # Keys (they stay non-extractable), messages, counters.
        "Default/IndexedDB",
        # The login. It reaches the disk up to 52 s late, so `page_storage` goes with it.
        "Default/Local Storage",
        "Default/Session Storage",
        "Default/File System",
        "Default/Cookies",
        "Default/Cookies-journal",
        "Default/Preferences",
        # Its registration and its scripts; what it cached is fetched again.
        "Default/Service Worker/Database",
        "Default/Service Worker/ScriptCache",
    ),
    exclude=(
        "LOCK",
        # LevelDB's own diary: nothing reads it, and it holds this machine's paths.
        "LOG",
        "LOG.old",
        # Half-written: their writer puts them in place by a rename.
        "*.ldb.tmp",
        "*.dbtmp",
        ".org.chromium.Chromium.*",
    ),
    # LevelDB never changes what it wrote there; its tables never change at all.
    append_only=("*.log", "MANIFEST-*"),
)
