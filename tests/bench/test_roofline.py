"""The roofline's arithmetic, and the parts that it measures with, on small work."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench import bandwidth, clock, engine, gemm, machine, operators, roofline, roofline_tables
from bench.neighbours import Neighbours
from bench.work import Shape
from sentiment_k8s.hub import find_model
from sentiment_k8s.model import Model

SMALL = Shape(layers=2, hidden=4, intermediate=16, labels=2)


def test_a_roof_is_bandwidth_before_the_ridge_and_the_peak_after_it() -> None:
    assert roofline_tables.roof(peak=100, bandwidth=10, intensity=5) == 50
    assert roofline_tables.roof(peak=100, bandwidth=10, intensity=10) == 100
    assert roofline_tables.roof(peak=100, bandwidth=10, intensity=500) == 100


def test_a_batch_reads_every_weight_once() -> None:
    weights = 2 * (4 * 4 * 4 + 2 * 4 * 16)
    one = roofline.traffic(SMALL, "fp32", tokens=30, mean_length=10)
    assert one.weight_bytes == 4 * weights
    assert one.multiply_adds == 30 * (weights + 2 * 2 * 4 * 10)
    assert one.intensity == one.multiply_adds / one.weight_bytes
    assert roofline.traffic(SMALL, "int8", 30, 10).intensity == 4 * one.intensity


def test_activations_grow_with_tokens_and_weights_do_not() -> None:
    one, two = (roofline.traffic(SMALL, "int8", tokens, 10) for tokens in (30, 60))
    assert two.activation_bytes == 2 * one.activation_bytes == 60 * 2 * (18 * 4 + 4 * 16) * 4
    assert two.weight_bytes == one.weight_bytes
    assert one.cache_intensity < two.cache_intensity < one.intensity


def test_a_layers_products_are_its_multiply_adds() -> None:
    work = sum(rows * inner * columns for rows, inner, columns in roofline.products(SMALL, 7))
    assert work * SMALL.layers == 7 * SMALL.a_token


def test_padding_is_counted_where_the_engine_pads(model_folder: Path) -> None:
    model = Model(find_model(str(model_folder)), 1, "onnxruntime")
    batch = model.tokenizer.encode(["fine", "a film worth every minute"])
    short, long = map(len, batch)
    assert engine.padding(model, [batch]) == pytest.approx((long - short) / (2 * long))
    unpadded = Model(find_model(str(model_folder)), 1)
    if not unpadded.engine.pads:
        assert engine.padding(unpadded, [batch]) == 0


def test_a_profile_has_the_models_multiply_adds_and_its_time(model_folder: Path) -> None:
    files = find_model(str(model_folder))
    model = Model(files, threads=1)
    batches = [model.tokenizer.encode(["a film worth every minute"] * count) for count in (1, 3)]
    shape = engine.shape_in(files)
    length = len(batches[0][0])

    found = operators.profile(files, 1, batches)

    work = sum(part.multiply_adds for part in found.parts)
    assert 4 * shape.least(length) <= work <= 4 * shape.a_text(length)
    assert sum(part.seconds for part in found.parts) == pytest.approx(found.seconds)
    kinds = [part.kind for part in found.parts]
    assert len(kinds) == len(set(kinds))
    assert {operators.PRODUCTS, operators.ATTENTION, "GELU", "LayerNorm"} <= set(kinds)


def test_events_are_added_up_by_kind() -> None:
    events: list[Mapping[str, Any]] = [
        node("MatMul", 30, [[2, 5, 8], [8, 3]], [2, 5, 3]),
        node("Attention", 40, [[2, 5, 8], [8, 12]], [2, 5, 4]),
        node("Add", 4, [[2, 5, 4]], [2, 5, 4]),
        node("Mul", 6, [[2, 5, 4]], [2, 5, 4]),
        node("Cumsum", 1, [[2]], [2]),
        {"cat": "Session", "name": "SequentialExecutor::Execute", "dur": 90, "ts": 0},
        {"cat": "Session", "name": "model_run", "dur": 95, "ts": 0},
    ]
    found = {part.kind: part for part in operators.summed(events, seconds=100e-6).parts}
    assert found["matrix products"].multiply_adds == 2 * 5 * 8 * 3
    assert found[operators.ATTENTION].multiply_adds == 2 * (5 * 8 * 3 * 4 + 5 * 5 * 2 * 4)
    microseconds = {kind: round(1e6 * part.seconds) for kind, part in found.items()}
    assert microseconds == {
        "matrix products": 30,
        operators.ATTENTION: 40,
        "sums and scales": 10,
        "others": 1,
        operators.BETWEEN: 90 - 81,
        operators.AROUND: 10,
    }


def test_openblas_chooses_its_kernels_itself() -> None:
    environ = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "512", "PATH": "/bin"}
    gemm.honest_openblas(2, environ)
    assert environ == {"PATH": "/bin", "OPENBLAS_NUM_THREADS": "2"}


@pytest.mark.parametrize("precision", gemm.PRECISIONS)
def test_products_of_a_networks_own_shapes_have_a_rate(precision: gemm.Precision) -> None:
    small, large = (16, 64, 32), (64, 256, 128)
    assert gemm.rate_at(precision, [small, large, large], threads=1) > 0


def test_bandwidth_is_measured_in_every_direction() -> None:
    found = bandwidth.measure("a small cache", 3 * 2**16, threads=1)
    assert min(found.read, found.copy, found.triad) > 1e7


def test_working_sets_fit_their_cache_and_the_last_one_fits_none() -> None:
    sets = bandwidth.levels(threads=1)
    assert all(
        sets[f"L{level} cache"] < size for level, size in bandwidth.caches().items() if level > 1
    )
    assert sets["memory"] >= 8 * max(bandwidth.caches().values(), default=0)


def test_the_clock_is_one_or_unknown() -> None:
    found = clock.hertz()
    assert found is None or 2e8 < found < 1e10


def test_another_process_on_our_core_is_seen() -> None:
    [core, *_] = os.sched_getaffinity(0)
    with machine.pinned([core]):
        watched = Neighbours([core])
        spin = "import time; end = time.time() + 0.5\nwhile time.time() < end: pass"
        subprocess.run([sys.executable, "-c", spin], check=True)
        assert watched.share() > 0.3


def test_flags_say_how_much_a_cycle_can_multiply() -> None:
    assert clock.multiply_adds_a_cycle("fp32", ["avx2", "avx512f"]) == 32
    assert clock.multiply_adds_a_cycle("int8", ["avx2"]) == 32
    assert clock.multiply_adds_a_cycle("int8", ["asimddp"]) is None


def node(
    operator: str, microseconds: int, inputs: list[list[int]], output: list[int]
) -> dict[str, Any]:
    """A node's event, as in ONNX Runtime's file."""
    arguments = {
        "op_name": operator,
        "input_type_shape": [{"float": shape} for shape in inputs],
        "output_type_shape": [{"float": output}],
    }
    return {"cat": "Node", "name": "node", "dur": microseconds, "ts": 0, "args": arguments}
