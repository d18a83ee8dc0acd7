"""The encoder in C against ONNX Runtime, in each form that this machine's CPU can run."""

import ctypes
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from sentiment_k8s import native, onnx_file
from sentiment_k8s.encoder import CEncoder, CLayer, EncoderEngine, check, load_encoder
from sentiment_k8s.encoder_graph import NotAnEncoder, find_encoder
from sentiment_k8s.hub import find_model
from sentiment_k8s.model import Model
from sentiment_k8s.onnx_engine import OnnxEngine
from sentiment_k8s.tokenizer import Tokens

from .tiny_encoders import LABELS, LONGEST, VOCABULARY, TinyEncoder

RUNNABLE = [name for name, flags in native.FLAGS.items() if native.cpu_flags().issuperset(flags)]
pytestmark = pytest.mark.skipif(
    not RUNNABLE or not shutil.which("gcc"), reason="no x86-64 CPU with AVX2, or no gcc"
)


@pytest.fixture(params=RUNNABLE)
def name(request: pytest.FixtureRequest) -> str:
    """One of the compiled encoders."""
    return str(request.param)


def engine(name: str, path: Path) -> EncoderEngine:
    library = native.library(name)
    assert library is not None, "it was not compiled: see hatch_build.py"
    file = onnx_file.read(path)
    return EncoderEngine(library, name, find_encoder(file), file.metadata)


def texts(count: int = 60, longest: int = LONGEST) -> list[Tokens]:
    random = np.random.default_rng(3)
    lengths = [*range(1, min(count, longest) + 1), *[longest] * (count - longest)]
    return [
        Tokens(
            random.integers(0, VOCABULARY, length).tolist(),
            random.integers(0, 2, length).tolist(),
            False,
        )
        for length in lengths
    ]


@pytest.mark.parametrize(
    "tiny",
    [
        TinyEncoder(),
        TinyEncoder(first_token=False),
        TinyEncoder(activation="Relu"),
        TinyEncoder(factors=True),
        TinyEncoder(epsilon=None),
    ],
    ids=["plain", "all tokens", "relu", "factors", "epsilons left out"],
)
def test_logits_are_onnx_runtimes_in_fp32(name: str, tiny: TinyEncoder, tmp_path: Path) -> None:
    path = tiny.write(tmp_path)
    expected = OnnxEngine(path, 1, 0).run(texts())
    found = engine(name, path).run(texts())
    assert found.shape == (60, LABELS)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(expected).max() > 0.5


@pytest.mark.parametrize("factors", [False, True])
def test_logits_are_near_onnx_runtimes_in_int8(name: str, factors: bool, tmp_path: Path) -> None:
    """ONNX Runtime rounds by one scale a batch, so there each text is run alone."""
    path = TinyEncoder(factors=factors).write(tmp_path, "int8")
    runtime = OnnxEngine(path, 1, 0)
    expected = np.concatenate([runtime.run([one]) for one in texts()])
    exact = OnnxEngine(tmp_path / "fp32.onnx", 1, 0).run(texts())
    found = engine(name, path).run(texts())
    assert np.abs(found - exact).mean() < 1.2 * np.abs(expected - exact).mean()
    assert np.abs(found - exact).max() < 1.5 * np.abs(expected - exact).max()


def test_a_model_without_kinds_of_tokens_reads_none(name: str, tmp_path: Path) -> None:
    path = TinyEncoder(types=0).write(tmp_path)
    expected = OnnxEngine(path, 1, 0).run(texts())
    np.testing.assert_allclose(engine(name, path).run(texts()), expected, atol=2e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_text_has_the_same_logits_to_the_last_bit_in_any_company(
    name: str, precision: str, tmp_path: Path
) -> None:
    encoder = engine(name, TinyEncoder().write(tmp_path, precision))
    alone = np.concatenate([encoder.run([one]) for one in texts()])
    assert (encoder.run(texts()) == alone).all()
    assert (encoder.run(texts()[::-1]) == alone[::-1]).all()


def test_more_texts_than_a_block_has_rows(name: str, tmp_path: Path) -> None:
    encoder = engine(name, TinyEncoder().write(tmp_path))
    short = [Tokens([i % VOCABULARY], [0], False) for i in range(300)]
    alone = [encoder.run([one])[0] for one in short[:VOCABULARY]]
    assert (encoder.run(short) == np.stack([alone[i % VOCABULARY] for i in range(300)])).all()


def test_threads_do_not_disturb_each_other(name: str, tmp_path: Path) -> None:
    encoder = engine(name, TinyEncoder().write(tmp_path, "int8"))
    expected = encoder.run(texts())
    wrong: list[int] = []

    def work(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(60)
        for _ in range(20):
            found = encoder.run([texts()[i] for i in order])
            if not (found == expected[order]).all():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_bytes_that_are_all_equal_and_rows_of_zeros_do_no_harm(name: str, tmp_path: Path) -> None:
    """A row of one value has no range to be quantised by."""
    path = TinyEncoder().write(tmp_path, "int8")
    file = onnx_file.read(path)
    file.constants = {
        key: values * 0 if values.dtype == np.float32 and values.ndim else values
        for key, values in file.constants.items()
    }
    library = native.library(name)
    assert library is not None
    found = EncoderEngine(library, name, find_encoder(file), {}).run(texts())
    assert (found == 0).all()


@pytest.mark.parametrize(
    "odd",
    [
        Tokens([VOCABULARY], [0], False),
        Tokens([-1], [0], False),
        Tokens([1, 2], [0, 2], False),
        Tokens([1], [-1], False),
        Tokens([1] * (LONGEST + 1), [0] * (LONGEST + 1), False),
    ],
    ids=["word", "negative word", "kind", "negative kind", "length"],
)
def test_tokens_that_the_model_does_not_have_are_refused(
    name: str, odd: Tokens, tmp_path: Path
) -> None:
    encoder = engine(name, TinyEncoder().write(tmp_path))
    with pytest.raises(ValueError, match=r"vocabulary|tokens"):
        encoder.run([texts()[0], odd])


def test_the_bundled_models_logits_are_near_onnx_runtimes(name: str, bundled_model: Model) -> None:
    """Of several lengths, a long one among them."""
    files = find_model("bundled")
    tokens = bundled_model.tokenizer.encode(
        ["A joy from start to end.", "Dull.", "It goes on and on. " * 60, "Not bad at all, really."]
    )
    expected = np.concatenate([OnnxEngine(files.onnx, 1, 0).run([one]) for one in tokens])
    found = engine(name, files.onnx).run(tokens)
    assert (found.argmax(1) == expected.argmax(1)).all()
    np.testing.assert_allclose(found, expected, atol=0.35)


def test_the_best_form_for_this_cpu_is_loaded() -> None:
    found = load_encoder(find_model("bundled").onnx)
    assert found is not None
    assert found.name == f"encoder-{RUNNABLE[0]}"
    assert found.metadata["precision"] == "int8"


def test_eight_bit_weights_need_vnni(tmp_path: Path) -> None:
    """Products of two bytes are added by twos in 16 bits otherwise."""
    path = TinyEncoder().write(tmp_path, "int8")
    encoder = find_encoder(onnx_file.read(path))
    check(encoder, vnni=False)
    weights = encoder.layers[0].widening.weights.copy()
    weights[0, 0] = 127
    object.__setattr__(encoder.layers[0].widening, "weights", weights)
    check(encoder, vnni=True)
    with pytest.raises(NotAnEncoder, match="eight bits"):
        check(encoder, vnni=False)


def test_structures_have_the_size_that_c_gives_them(name: str) -> None:
    library = native.library(name)
    assert library is not None
    assert library.size_of_encoder() == ctypes.sizeof(CEncoder)
    assert library.size_of_layer() == ctypes.sizeof(CLayer)
