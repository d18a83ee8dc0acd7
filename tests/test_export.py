"""Checkpoints of several shapes, random weights, become folders that the server loads."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from sentiment_k8s import onnx_file
from sentiment_k8s.encoder import check
from sentiment_k8s.encoder_graph import find_encoder
from sentiment_k8s.errors import ModelError
from sentiment_k8s.export import export
from sentiment_k8s.hub import find_model
from sentiment_k8s.model import Model

needs_torch = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "onnx")),
    reason="the extra [export] (torch, transformers, onnx) is not installed",
)
# Torch's exporter and transformers warn of their own age and of each other.
quiet = pytest.mark.filterwarnings("ignore")
pytestmark = [quiet]

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = [*SPECIAL, "a", "film", "worth", "every", "minute", "of", "it", "no", "is", "not"]
TEXTS = ["a film", "no", "it is not a film worth every minute of it"]
SIZES = {"vocab_size": len(WORDS), "max_position_embeddings": 66, "pad_token_id": 0}
BERT_SIZES = {
    **SIZES,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


def tokenizer_for(architecture: str) -> Any:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {word: at for at, word in enumerate(WORDS)}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    inputs = ["input_ids", "attention_mask"]
    if architecture == "bert":
        inputs.insert(1, "token_type_ids")  # in the order of BertTokenizer, not of BertModel
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", model_input_names=inputs
    )


def checkpoint(folder: Path, architecture: str, **head: Any) -> Any:
    """A tiny random classifier saved in `folder`; returns the torch model."""
    import torch
    import transformers

    torch.manual_seed(0)
    match architecture:
        case "bert":
            config = transformers.BertConfig(**(BERT_SIZES | head))
        case "roberta":
            config = transformers.RobertaConfig(**(BERT_SIZES | head), type_vocab_size=1)
        case "distilbert":
            config = transformers.DistilBertConfig(
                **(SIZES | {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64} | head)
            )
        case _:
            config = transformers.AlbertConfig(**BERT_SIZES, embedding_size=16, **head)
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for values in model.parameters():  # new ones have all biases 0, which are then stored once
            values += 0.01 * torch.randn_like(values)
    model.save_pretrained(folder)
    tokenizer_for(architecture).save_pretrained(folder)
    return model


def torch_logits(folder: Path, model: Any) -> Any:
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        return model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.numpy()


def served_logits(folder: Path) -> Any:
    model = Model(find_model(str(folder)), 1)
    return model.run(model.tokenizer.encode(TEXTS))


@needs_torch
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta", "albert"])
def test_the_fp32_folder_gives_the_logits_of_torch(tmp_path: Path, architecture: str) -> None:
    model = checkpoint(tmp_path / "source", architecture)
    export(tmp_path / "source", tmp_path / "target", precision="fp32")
    expected = torch_logits(tmp_path / "source", model)
    np.testing.assert_allclose(served_logits(tmp_path / "target"), expected, atol=1e-4)


@needs_torch
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta", "albert"])
def test_the_int8_folder_is_close_to_torch(tmp_path: Path, architecture: str) -> None:
    model = checkpoint(tmp_path / "source", architecture)
    exported = export(tmp_path / "source", tmp_path / "target")
    expected = torch_logits(tmp_path / "source", model)
    np.testing.assert_allclose(served_logits(tmp_path / "target"), expected, atol=0.05)
    assert exported.difference < 0.05


@needs_torch
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_our_own_engine_finds_the_encoder_in_what_is_exported(
    tmp_path: Path, architecture: str, precision: str
) -> None:
    sizes = (
        {"dim": 64, "hidden_dim": 128, "n_heads": 2}
        if architecture == "distilbert"
        else {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2}
    )
    checkpoint(tmp_path / "source", architecture, **sizes)
    export(tmp_path / "source", tmp_path / "target", precision=precision)
    check(find_encoder(onnx_file.read(tmp_path / "target" / "model.onnx")), vnni=False)


@needs_torch
@pytest.mark.parametrize(
    "head",
    [
        {"num_labels": 1, "problem_type": "regression"},
        {"num_labels": 4, "problem_type": "multi_label_classification"},
        {"id2label": {0: "bad", 1: "middling", 2: "good"}},
    ],
    ids=["regression", "multi-label", "three labels"],
)
def test_the_head_of_the_source_is_the_head_that_is_served(
    tmp_path: Path, head: dict[str, Any]
) -> None:
    model = checkpoint(tmp_path / "source", "bert", **head)
    exported = export(tmp_path / "source", tmp_path / "target")
    served = Model(find_model(str(tmp_path / "target")), 1).info
    assert served.labels == exported.labels == tuple(model.config.id2label.values())
    assert served.problem_type == head.get("problem_type", "single_label_classification")


@needs_torch
def test_the_file_says_its_precision_and_where_it_came_from(tmp_path: Path) -> None:
    checkpoint(tmp_path / "source", "distilbert")
    export(tmp_path / "source", tmp_path / "target")
    session = onnxruntime.InferenceSession(
        tmp_path / "target" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    written = session.get_modelmeta().custom_metadata_map
    assert written["precision"] == "int8"
    assert written["source"] == "source"
    assert written["revision"] == ""


@needs_torch
def test_the_folder_has_what_the_server_reads_and_nothing_else(tmp_path: Path) -> None:
    checkpoint(tmp_path / "source", "bert")
    export(tmp_path / "source", tmp_path / "target")
    names = {path.name for path in (tmp_path / "target").iterdir()}
    assert names == {"config.json", "tokenizer.json", "tokenizer_config.json", "model.onnx"}


@needs_torch
def test_a_roberta_keeps_two_of_its_positions_for_itself(tmp_path: Path) -> None:
    checkpoint(tmp_path / "source", "roberta", bos_token_id=2)
    export(tmp_path / "source", tmp_path / "target")
    written = json.loads((tmp_path / "target" / "tokenizer_config.json").read_text())
    assert written["model_max_length"] == 66 - 1  # its padding is token 0, so it counts from 1


@needs_torch
def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path / "source", "bert")
    (tmp_path / "source" / "model.safetensors").rename(tmp_path / "source" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled ones are never loaded"):
        export(tmp_path / "source", tmp_path / "target")


@needs_torch
def test_an_encoder_without_a_head_is_refused(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "source", "bert")
    model.bert.save_pretrained(tmp_path / "source")
    with pytest.raises(ModelError, match="no classification head"):
        export(tmp_path / "source", tmp_path / "target")


@needs_torch
def test_code_that_a_checkpoint_brings_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    checkpoint(folder, "bert")
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "theirs"
    config["auto_map"] = {"AutoConfig": "theirs.Config"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError, match="source cannot be loaded"):
        export(folder, tmp_path / "target")
    assert not (tmp_path / "ran").exists()


@needs_torch
def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no config\.json"):
        export(tmp_path, tmp_path / "target")


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="int8, fp32"):
        export(tmp_path, tmp_path / "target", precision="int4")


def test_without_torch_the_error_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from sentiment_k8s.export import export\n"
        "try: export(sys.argv[1], Path(sys.argv[1], 'target'))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("ModelError")
    assert 'pip install "sentiment-k8s[export]"' in found.stdout
