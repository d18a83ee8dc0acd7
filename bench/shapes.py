"""Models of a known shape with random weights, to measure what cannot be had offline.

Making one needs torch, so it is done once, by a Python that has the extra `[export]`:

    python -m bench.shapes distilbert
"""

import argparse
import tempfile
from pathlib import Path

from .machine import cache

SHAPES = ("distilbert", "minilm")
PRECISIONS = ("fp32", "int8")


def folders(shape: str) -> dict[str, str]:
    """The model folders of a shape, by precision."""
    found = {precision: cache() / f"{shape}-{precision}" for precision in PRECISIONS}
    if missing := [str(path) for path in found.values() if not (path / "model.onnx").exists()]:
        raise SystemExit(
            f"{' and '.join(missing)} must be made first, by a Python with the extra [export]: "
            f"python -m bench.shapes {shape}"
        )
    return {precision: str(path) for precision, path in found.items()}


def make(shape: str, tokenizer: Path) -> None:
    """Make the model folders of a shape.

    Args:
        tokenizer: a BERT `tokenizer.json`; the bundled model's will do.
    """
    from sentiment_k8s.export import export

    with tempfile.TemporaryDirectory() as checkpoint:
        write_checkpoint(shape, tokenizer, Path(checkpoint))
        for precision in PRECISIONS:
            export(checkpoint, cache() / f"{shape}-{precision}", precision=precision)


def write_checkpoint(shape: str, tokenizer: Path, folder: Path) -> None:
    """A checkpoint with random weights, as `transformers` writes it."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        BertConfig,
        DistilBertConfig,
        PreTrainedTokenizerFast,
    )

    names = {"id2label": {0: "NEGATIVE", 1: "POSITIVE"}, "label2id": {"NEGATIVE": 0, "POSITIVE": 1}}
    config = (
        DistilBertConfig(**names)
        if shape == "distilbert"
        else BertConfig(
            hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
            **names,
        )
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for values in model.parameters():  # new ones have all biases 0, which are then stored once
            values += 0.01 * torch.randn_like(values)
    model.save_pretrained(folder)
    special = {
        f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")
    }
    inputs = ["input_ids", "attention_mask"]
    PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer),
        model_max_length=512,
        model_input_names=inputs if shape == "distilbert" else ["token_type_ids", *inputs],
        **special,
    ).save_pretrained(folder)


def main() -> None:
    """Make one, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.shapes", description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument(
        "--tokenizer",
        type=Path,
        default=Path("src/sentiment_k8s/bundled/tokenizer.json"),
        help="tokenizer.json of a BERT model",
    )
    options = parser.parse_args()
    make(options.shape, options.tokenizer)
    print(f"Made {', '.join(folders(options.shape).values())}.")


if __name__ == "__main__":
    main()
