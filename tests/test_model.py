import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from sentiment_k8s.errors import ModelError
from sentiment_k8s.hub import find_model
from sentiment_k8s.model import Model, ModelInfo

from .tiny_models import write_json, write_tiny_model


def load(folder: Path, file: str | None = None) -> Model:
    return Model(find_model(str(folder), model_file=file), threads=1)


def refusal(folder: Path) -> str:
    """The sentence with which this folder is refused."""
    with pytest.raises(ModelError) as caught:
        load(folder)
    return caught.value.message


def logits(model: Model, *texts: str) -> list[list[float]]:
    """The logits of texts that run in one batch."""
    rows: list[list[float]] = model.run(model.tokenizer.encode(texts)).tolist()
    return rows


def scores(model: Model, *values: float) -> list[float]:
    """What these logits of one text mean."""
    [row] = model.scores(np.asarray([values], np.float32)).tolist()
    return [float(score) for score in row]


# Running


def test_a_batch_gives_each_text_its_own_logits(tiny_model: Model) -> None:
    assert logits(tiny_model, "a good film", "bad bad", "a film") == [[-1, 1], [2, -2], [0, 0]]


def test_padding_is_masked(tmp_path: Path) -> None:
    """Here padding would count if it were seen."""
    model = load(write_tiny_model(tmp_path, weights={"good": (-1, 1), "[PAD]": (9, 9)}))
    assert logits(model, "good", "a longer text about a film")[0] == [-1, 1]


def test_padding_changes_the_bundled_models_scores_by_no_more_than_quantisation_noise(
    model_folder: Path,
) -> None:
    """In ONNX Runtime, where int8 activations share one scale a tensor, so that a neighbour moves a
    text's logits a little; tests/test_encoder.py has what our encoder does."""
    model = Model(find_model(str(model_folder)), threads=1, engine="onnxruntime")
    texts = ["A joy from start to end.", "Dull.", "I want my two hours back."]
    long = "It goes on and on, and then it goes on a little more. " * 4
    alone = np.asarray([model.scores(np.asarray(logits(model, t))) for t in texts])
    padded = model.scores(np.asarray(logits(model, *texts, long)))[:-1]
    assert np.abs(alone[:, 0] - padded).max() < 0.05


def test_onnx_runtime_computes_what_the_encoder_does_not(tiny_model: Model) -> None:
    assert tiny_model.engine.name == "onnxruntime"


def test_several_threads_a_batch_are_onnx_runtimes(model_folder: Path) -> None:
    assert Model(find_model(str(model_folder)), threads=2).engine.name == "onnxruntime"


@pytest.mark.parametrize("integers", [TensorProto.INT32, TensorProto.INT64])
@pytest.mark.parametrize(
    "inputs",
    [
        ("input_ids",),
        ("input_ids", "attention_mask"),
        ("attention_mask", "input_ids", "token_type_ids"),
    ],
)
def test_a_model_gets_the_inputs_that_it_asks_for(
    tmp_path: Path, inputs: tuple[str, ...], integers: int
) -> None:
    model = load(write_tiny_model(tmp_path, inputs=inputs, integers=integers))
    assert logits(model, "good", "bad film") == [[-1, 1], [1, -1]]


def test_texts_are_padded_with_the_models_own_padding(tmp_path: Path) -> None:
    """Here the padding is the word "bad" (id 6), and there is no mask to hide it."""
    model = load(write_tiny_model(tmp_path, inputs=("input_ids",), pad_token_id=6))
    assert logits(model, "good", "a good film")[0] == [1, -1]


def test_warming_up_runs_the_longest_text_and_a_full_batch(bundled_model: Model) -> None:
    bundled_model.warm_up(token_budget=64)


def test_a_model_that_cannot_run_its_longest_text_says_so_before_it_is_ready(
    tmp_path: Path,
) -> None:
    """Its graph is made for texts of five tokens; the texts of the first check have as many."""
    model = load(write_tiny_model(tmp_path, length=5))
    with pytest.raises(ModelError, match="fails on a batch of 1, of up to 64 tokens"):
        model.warm_up(512)


# What logits mean


def test_one_label_of_several_is_a_softmax(tmp_path: Path) -> None:
    model = load(write_tiny_model(tmp_path))
    assert model.info.problem_type == "single_label_classification"
    assert scores(model, 0, math.log(3)) == pytest.approx([0.25, 0.75])


def test_a_softmax_of_huge_logits_does_not_overflow(tiny_model: Model) -> None:
    assert scores(tiny_model, 1000, -1000) == [1, 0]


def test_several_labels_at_once_are_a_sigmoid_each(tmp_path: Path) -> None:
    model = load(write_tiny_model(tmp_path, problem_type="multi_label_classification"))
    assert scores(model, math.log(3), 0) == pytest.approx([0.75, 0.5])


def test_a_sigmoid_of_huge_logits_does_not_overflow(tmp_path: Path) -> None:
    model = load(write_tiny_model(tmp_path, problem_type="multi_label_classification"))
    assert scores(model, 1000, -1000) == [1, 0]


def test_a_single_output_is_a_sigmoid_as_in_transformers(tmp_path: Path) -> None:
    model = load(write_tiny_model(tmp_path, labels=["TOXIC"], bias=[0]))
    assert model.info.problem_type == "multi_label_classification"
    assert scores(model, math.log(3)) == pytest.approx([0.75])


def test_a_regression_is_its_plain_value(tmp_path: Path) -> None:
    model = load(write_tiny_model(tmp_path, labels=["STARS"], bias=[0], problem_type="regression"))
    assert scores(model, 4.25) == [4.25]


# What a model is


def test_a_model_says_what_it_is(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "films", labels=["NO", "YES"])
    files = find_model(str(folder))
    assert Model(files, threads=1).info == ModelInfo(
        id="films",
        revision=files.revision,
        precision="fp32",
        engine="onnxruntime",
        labels=("NO", "YES"),
        problem_type="single_label_classification",
        max_tokens=64,
    )


@pytest.mark.parametrize(
    ("file", "precision"),
    [
        ("model.onnx", "fp32"),
        ("model_fp16.onnx", "fp16"),
        ("model_int8.onnx", "int8"),
        ("model_uint8.onnx", "int8"),
        ("model_quantized.onnx", "int8"),
        ("onnx/model_qint8_avx512_vnni.onnx", "int8"),
        ("onnx/model_quint8_avx2.onnx", "int8"),
        ("model_q4.onnx", "q4"),
        ("model_bnb4.onnx", "bnb4"),
    ],
)
def test_precision_is_read_from_the_files_name(tmp_path: Path, file: str, precision: str) -> None:
    assert load(write_tiny_model(tmp_path, file=file)).info.precision == precision


def test_precision_in_the_file_wins_over_its_name(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path, metadata={"precision": "int8"})
    assert load(folder).info.precision == "int8"


def test_the_tokenizers_limit_counts_when_it_is_lower(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    write_json(folder / "tokenizer_config.json", {"model_max_length": 32})
    assert load(folder).info.max_tokens == 32


def test_a_tokenizer_without_a_limit_says_an_absurd_number(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path, max_position_embeddings=None)
    write_json(folder / "tokenizer_config.json", {"model_max_length": int(1e30)})
    assert load(folder).info.max_tokens == 512


def test_minus_one_means_no_limit(tmp_path: Path) -> None:
    assert load(write_tiny_model(tmp_path, max_position_embeddings=-1)).info.max_tokens == 512


def test_robertas_positions_begin_after_its_padding(tmp_path: Path) -> None:
    folder = write_tiny_model(
        tmp_path, model_type="roberta", max_position_embeddings=66, pad_token_id=1
    )
    assert load(folder).info.max_tokens == 64


def test_labels_follow_their_numbers_not_their_order_in_the_file(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path, id2label={"1": "POSITIVE", "0": "NEGATIVE"})
    assert load(folder).info.labels == ("NEGATIVE", "POSITIVE")


def test_without_id2label_labels_are_named_as_transformers_does(tmp_path: Path) -> None:
    assert load(write_tiny_model(tmp_path, id2label=None)).info.labels == ("LABEL_0", "LABEL_1")


# What cannot be served, and how it is said


def test_a_folder_without_config_is_no_model(tiny_folder: Path) -> None:
    (tiny_folder / "config.json").unlink()
    assert refusal(tiny_folder) == "tiny has no config.json: not a Hugging Face model folder."


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"{", "cannot be read as JSON"), (b"\xff\xfe", "JSON"), (b"[]", "is not a JSON object")],
)
def test_a_broken_config_is_named(tiny_folder: Path, content: bytes, complaint: str) -> None:
    (tiny_folder / "config.json").write_bytes(content)
    sentence = refusal(tiny_folder)
    assert "config.json" in sentence
    assert complaint in sentence


@pytest.mark.parametrize(
    "id2label", [["NEGATIVE", "POSITIVE"], {"1": "A", "2": "B"}, {"x": "A"}, {"0": "A", "2": "B"}]
)
def test_labels_must_count_from_zero(tmp_path: Path, id2label: object) -> None:
    assert "does not count from 0" in refusal(write_tiny_model(tmp_path, id2label=id2label))


def test_two_labels_of_one_name_are_refused(tmp_path: Path) -> None:
    assert "same label twice" in refusal(write_tiny_model(tmp_path, labels=["A", "A"]))


def test_an_unknown_kind_of_head_is_refused(tmp_path: Path) -> None:
    sentence = refusal(write_tiny_model(tmp_path, problem_type="ranking"))
    assert "problem_type 'ranking'" in sentence


def test_as_many_labels_as_logits(tmp_path: Path) -> None:
    sentence = refusal(write_tiny_model(tmp_path, labels=["A", "B", "C"]))
    assert "logits of shape (2, 2)" in sentence
    assert "3 labels" in sentence


def test_a_token_classifier_is_refused(tmp_path: Path) -> None:
    """It has as many logits as labels, but for each token."""
    assert "logits of shape (2, 5, 2)" in refusal(write_tiny_model(tmp_path, logits_a_token=True))


def test_a_graph_for_one_text_at_a_time_is_refused(tmp_path: Path) -> None:
    assert "fails on a batch of 2" in refusal(write_tiny_model(tmp_path, batch=1))


def test_an_input_that_we_cannot_give_is_refused(tmp_path: Path) -> None:
    sentence = refusal(write_tiny_model(tmp_path, inputs=("input_ids", "pixel_values")))
    assert "not an encoder with a classification head" in sentence
    assert "pixel_values" in sentence


def test_a_file_that_is_not_onnx_is_refused(tiny_folder: Path) -> None:
    (tiny_folder / "model.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "model.onnx is not a usable ONNX model" in refusal(tiny_folder)


def test_a_missing_tokenizer_says_what_writes_one(tiny_folder: Path) -> None:
    (tiny_folder / "tokenizer.json").unlink()
    sentence = refusal(tiny_folder)
    assert "tiny has no tokenizer.json" in sentence
    assert "sentiment model export" in sentence


def test_a_broken_tokenizer_is_named(tiny_folder: Path) -> None:
    (tiny_folder / "tokenizer.json").write_text('{"version": "1.0"}')
    assert "tokenizer.json is not a usable tokenizer" in refusal(tiny_folder)


def test_a_limit_that_is_no_number_is_refused(tmp_path: Path) -> None:
    sentence = refusal(write_tiny_model(tmp_path, max_position_embeddings="many"))
    assert sentence == "The model's max_position_embeddings is 'many', which is no number."


def test_a_tokenizer_that_knows_more_words_than_the_model_fails_on_them_alone(
    tiny_model: Model,
) -> None:
    """Which the pipeline turns into an error of that text."""
    with pytest.raises(Exception, match="indices"):
        logits(tiny_model, "poison")
    assert logits(tiny_model, "good") == [[-1, 1]]


def test_the_runtime_reports_to_nobody(tiny_folder: Path, tmp_path: Path) -> None:
    """Where it does, its first step is a file with the machine's number below the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-m", "sentiment_k8s", "model", "show", "--model", str(tiny_folder)]
    subprocess.run(command, check=True, env=kept | {"HOME": str(home)}, capture_output=True)
    assert list(home.iterdir()) == []
