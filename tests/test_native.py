import _ctypes
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sentiment_k8s import native

ON_X86 = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="not x86-64 and Linux"
)
AVX2 = frozenset({"sse4_2", "avx", "avx2", "fma"})
VNNI = AVX2 | {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"}


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (VNNI | {"avx_vnni"}, ["avx512vnni", "avxvnni", "avx2"]),
        (VNNI - {"avx512_vnni"}, ["avx2"]),
        (AVX2 | {"avx_vnni"}, ["avxvnni", "avx2"]),
        (AVX2 - {"fma"}, []),
        (frozenset(), []),
    ],
)
def test_what_a_cpu_can_run_the_best_first(flags: frozenset[str], names: list[str]) -> None:
    assert native.runnable(flags) == names


@ON_X86
def test_flags_are_read_as_linux_writes_them(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 fma\nbugs\t\t: none\n\n" * 2)
    assert native.cpu_flags(cpuinfo) == {"flags", ":", "fpu", "avx2", "fma"}


@ON_X86
def test_this_machines_flags_are_read() -> None:
    assert ("avx2" in Path("/proc/cpuinfo").read_text()) == ("avx2" in native.cpu_flags())


def test_a_machine_without_cpuinfo_has_no_flags(tmp_path: Path) -> None:
    assert native.cpu_flags(tmp_path / "none") == frozenset()


def test_what_was_not_compiled_is_none() -> None:
    assert native.library("for-no-cpu") is None


@ON_X86
@pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc")
def test_where_there_is_gcc_the_encoder_has_been_compiled_from_these_sources() -> None:
    for name in native.FLAGS:
        library = native.library(name)
        assert library is not None, "run: python hatch_build.py"
        assert library.sources() == native.digest()


@ON_X86
@pytest.mark.parametrize("content", [b"", b"no library", "folder", "another"])
def test_a_damaged_library_counts_as_none(content: bytes | str) -> None:
    path = native.compiled("damaged")
    try:
        if content == "folder":
            path.mkdir()
        elif content == "another":
            shutil.copyfile(_ctypes.__file__, path)
        else:
            assert isinstance(content, bytes)
            path.write_bytes(content)
        assert native.library("damaged") is None
    finally:
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)


@ON_X86
@pytest.mark.parametrize(
    "compiler",
    ["/nowhere/cc", "false", "true", "sh -c 'printf \\377 >&2; exit 1'"],
    ids=["none", "fails", "writes nothing", "says no text"],
)
def test_a_compiler_that_does_not_compile_leaves_no_library(compiler: str, tmp_path: Path) -> None:
    """In a copy of the sources: this checkout's libraries stay."""
    copy = tmp_path / "src" / "sentiment_k8s" / "native"
    shutil.copytree(native.HERE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    hook = native.HERE.parents[2] / "hatch_build.py"
    shutil.copyfile(hook, tmp_path / hook.name)
    done = subprocess.run(
        [sys.executable, tmp_path / hook.name],
        env=os.environ | {"CC": compiler},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "the encoder in C is not compiled" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(copy.glob("*.so"))
