"""Small disks that can be filled for real: tmpfs, which only root may mount."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Disk:
    """A folder, on a disk of its own if it is `small`."""

    folder: Path
    small: bool

    def fill(self) -> None:
        """Take all space that is left."""
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65_536))
            except OSError:
                pass

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"


@contextmanager
def disk(folder: Path, mebibytes: int) -> Iterator[Disk]:
    """A new folder on a disk of so many MiB, or on that of its parent where we may not mount."""
    folder.mkdir()
    options = f"size={mebibytes}m,mode=755"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    small = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield Disk(folder, small)
    finally:
        if small:
            subprocess.run(["umount", folder], check=True)
