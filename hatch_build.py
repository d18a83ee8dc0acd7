"""Compiles the encoder in C when this package is built or installed: `python hatch_build.py` too.

Where there is no C compiler, or another CPU than x86-64, nothing is compiled, and ONNX Runtime
computes.
"""

import os
import platform
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand: only `compile_all` is wanted
    BuildHookInterface = object

NATIVE = Path(__file__).parent / "src/sentiment_k8s/native"
# fp-contract: what is added and multiplied in one step is said in the code, so that every way of
# cutting rows into tiles gives the same bits.
OPTIONS = ["-std=gnu11", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-Wall", "-Wextra"]


class CompileEncoder(BuildHookInterface):
    """Adds the compiled encoders to a wheel, or puts them beside the sources that are edited."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        made = compile_all()
        if made and version != "editable":
            build_data["pure_python"] = False  # and of no Python in particular
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_')}"
        build_data["artifacts"] += [f"src/sentiment_k8s/native/{path.name}" for path in made]


def compile_all() -> list[Path]:
    """Compile for each kind of CPU; returns the libraries."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if not compiler or platform.system() != "Linux" or platform.machine() != "x86_64":
        return _without("no C compiler for x86-64 Linux was found")
    native = runpy.run_path(str(NATIVE / "__init__.py"))
    return [
        path
        for name, flags in native["FLAGS"].items()
        if (path := _compiled(compiler, native["compiled"](name), flags))
    ]


def _compiled(compiler: str, target: Path, flags: tuple[str, ...]) -> Path | None:
    """One library, put in its place whole; None when the compiler does not know these CPUs."""
    machine = [f"-m{flag.replace('avx512_', 'avx512').replace('avx_', 'avx')}" for flag in flags]
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = Path(folder, target.name)
        command = [compiler, *OPTIONS, *machine, "-o", fresh, NATIVE / "encoder.c", "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return _without(done.stderr.strip()[-1000:]) or None
        fresh.replace(target)
    return target


def _without(reason: str) -> list[Path]:
    sys.stderr.write(f"sentiment-k8s: the encoder in C is not compiled: {reason}\n")
    return []


if __name__ == "__main__":
    compile_all()
