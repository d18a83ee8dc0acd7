"""A model that the cluster gets by a claim instead of by its image."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import machine

from .namespace import Namespace
from .programs import kubectl, run

CLAIM = "model"


def distilbert() -> Path:
    """Folder of DistilBERT's shape with random int8 weights; skips where nobody has made it."""
    folder = machine.cache() / "distilbert-int8"
    if not (folder / "model.onnx").exists():
        pytest.skip("make it first: python -m bench.shapes distilbert (needs the extra [export])")
    return folder


@contextmanager
def model_claim(namespace: Namespace, folder: Path) -> Iterator[str]:
    """A claim on a folder of this machine, which is the node; yields its name."""
    volume = f"{namespace.name}-{CLAIM}"
    what = {
        "accessModes": ["ReadOnlyMany"],
        "storageClassName": "",
    }
    namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                **what,
                "capacity": {"storage": "1Gi"},
                "hostPath": {"path": str(folder), "type": "Directory"},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        }
    )
    try:
        namespace.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": CLAIM},
                "spec": {
                    **what,
                    "volumeName": volume,
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            }
        )
        yield CLAIM
    finally:
        run(kubectl(), "delete", "persistentvolume", volume, "--wait=false")
