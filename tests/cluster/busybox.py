"""An image with a shell, written here since no registry need be in reach."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

IMAGE = "busybox:test"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def archive(folder: Path, busybox: Path) -> Path:
    """An archive as `docker save` writes it, of Debian's static busybox and its applets' links."""
    layer = folder / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(busybox, "bin/busybox")
        for applet in ("sh", "httpd", "nc", "nslookup", "sleep", "dd"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    image = folder / "busybox.tar"
    with tarfile.open(image, "w") as tar:
        tar.add(layer, "layer.tar")
        for name, content in (("config.json", config), ("manifest.json", manifest)):
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return image
