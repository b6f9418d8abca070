"""Where the folder of real and hard films is; without it there are no tests of them, rather than skipped ones."""

from __future__ import annotations

from tests.packager.media import FOLDER

collect_ignore = [] if FOLDER.is_dir() else ["test_media.py", "test_media_hdr.py"]
