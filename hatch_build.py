"""Compiles the encoder in C when this package is built or installed: `python hatch_build.py` too.

Where there is no C compiler, or another CPU than x86-64, nothing is compiled, and ONNX Runtime
computes.
"""

import os
import platform
import runpy
import shlex
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
    """Compile for each kind of CPU; returns the libraries. Those of before are gone in any case."""
    native = runpy.run_path(str(NATIVE / "__init__.py"))
    made = []
    try:
        for name in native["FLAGS"]:
            native["compiled"](name).unlink(missing_ok=True)
        digest = native["digest"]()
    except OSError as error:
        return _without(str(error))
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return _without("it is for x86-64 and Linux")
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("gcc") or "cc"]
    for name, flags in native["FLAGS"].items():
        try:
            _compile(compiler, native["compiled"](name), flags, digest)
        except subprocess.CalledProcessError as error:
            _without(f"{name}: {error.stderr.decode(errors='replace').strip()[-1000:]}")
        except (OSError, subprocess.SubprocessError) as error:
            _without(f"{name}: {error}")
        else:
            made.append(native["compiled"](name))
    return made


def _compile(compiler: list[str], target: Path, flags: tuple[str, ...], digest: int) -> None:
    """One library, put in its place whole."""
    machine = [f"-m{flag.replace('avx512_', 'avx512').replace('avx_', 'avx')}" for flag in flags]
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder, target.name)
        options = [*OPTIONS, *machine, f"-DSOURCES={digest}u"]
        command = [*compiler, *options, "-o", fresh, NATIVE / "encoder.c", "-lm"]
        subprocess.run(command, capture_output=True, check=True, timeout=120)
        beside = target.with_suffix(".new")
        shutil.copyfile(fresh, beside)
        beside.replace(target)


def _without(reason: str) -> list[Path]:
    sys.stderr.write(f"sentiment-k8s: the encoder in C is not compiled: {reason}\n")
    return []


if __name__ == "__main__":
    sys.exit(not compile_all())
