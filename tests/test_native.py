import shutil
from pathlib import Path

import pytest

from sentiment_k8s import native

AVX2 = frozenset({"sse4_2", "avx", "avx2", "fma"})
VNNI = AVX2 | {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"}


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (VNNI | {"avx_vnni"}, "avx512vnni"),
        (VNNI - {"avx512_vnni"}, "avx2"),
        (AVX2 | {"avx_vnni"}, "avxvnni"),
        (AVX2, "avx2"),
        (AVX2 - {"fma"}, None),
        (frozenset(), None),
    ],
)
def test_the_best_that_a_cpu_can_run_is_chosen(flags: frozenset[str], name: str | None) -> None:
    assert native.choose(flags) == name


def test_flags_are_read_as_linux_writes_them(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 fma\nbugs\t\t: none\n\n" * 2)
    found = native.cpu_flags(cpuinfo)
    assert found in ({"flags", ":", "fpu", "avx2", "fma"}, set())  # none but on x86-64


def test_a_machine_without_cpuinfo_has_no_flags(tmp_path: Path) -> None:
    assert native.cpu_flags(tmp_path / "none") == frozenset()


def test_what_was_not_compiled_is_none() -> None:
    assert native.library("for-no-cpu") is None


@pytest.mark.skipif(
    not native.choose(native.cpu_flags()) or not shutil.which("cc"),
    reason="no x86-64 CPU with AVX2, or no C compiler",
)
def test_where_there_is_a_compiler_the_encoder_has_been_compiled() -> None:
    for name in native.FLAGS:
        assert native.compiled(name).is_file()
