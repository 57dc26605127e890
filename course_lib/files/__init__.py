"""Files: written whole or not at all, fetched and proven, and where the course keeps them."""

from course_lib.files.atomic import sync_folder, write_atomically
from course_lib.files.fetch import fetch, file_digest, verify
from course_lib.files.places import data_folder, weights_folder

__all__ = [
    "data_folder",
    "fetch",
    "file_digest",
    "sync_folder",
    "verify",
    "weights_folder",
    "write_atomically",
]
