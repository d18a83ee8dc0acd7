"""Make the bundled model: `python -m training SST2_FOLDER` (see README.md beside this file).

A run that is already under the work folder is not trained again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertForSequenceClassification

from sentiment_k8s.export import export
from sentiment_k8s.threads import usable_threads

from . import calibrate, card, data, encoder, evaluate, teacher, train
from .data import Example, Split
from .recipes import HELD_OUT, SPLIT_SEED, STUDENT

HERE = Path(__file__).parent
NAME = "minilm-l6-sst2"  # what the file says of its source
SMOOTHED_ON = 100  # training sentences that show which activations outlie


def main() -> None:
    """Parse the command line and make the model."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("sst2", type=Path, help="GLUE's folder: train.tsv and dev.tsv")
    parser.add_argument("--work", type=Path, default=Path("build/training"))
    parser.add_argument("--target", type=Path, default=Path("src/sentiment_k8s/bundled"))
    parser.add_argument("--reference", type=Path, default=HERE / "reference")
    parser.add_argument("--fp32", type=Path, default=Path("build/model-fp32"))
    parser.add_argument(
        "--quick", action="store_true", help="the whole path in about a minute, under build/quick"
    )
    args = parser.parse_args()
    torch.set_num_threads(usable_threads())
    if args.quick:
        root = Path("build/quick")
        args.work, args.target = root / "training", root / "model"
        args.reference, args.fp32 = root / "reference", root / "model-fp32"
    try:
        examples, dev = data.read(args.sst2, "train"), data.read(args.sst2, "dev")
        split = teacher.taught(data.split(examples, held_out=HELD_OUT, seed=SPLIT_SEED))
    except data.DataError as error:
        raise SystemExit(str(error)) from None
    recipe = STUDENT
    if args.quick:
        split = Split(
            split.sentences[:300], split.phrases[:300], split.held_out[:200], split.made[:100]
        )
        recipe = replace(recipe, epochs=1, phrases=200, made=100)
    figures: dict[str, Any] = {"data": counts(examples, split, dev)}
    model = trained(recipe, split, args.work, figures)
    publish(model, split, dev, args, figures)


def counts(examples: Sequence[Example], split: Split, dev: Sequence[Example]) -> dict[str, int]:
    """How many rows there are of each kind."""
    return {
        "rows": len(examples),
        "sentences": len(split.sentences),
        "phrases": len(split.phrases),
        "made": len(split.made),
        "held_out": len(split.held_out),
        "dev": len(dev),
    }


def trained(
    recipe: train.Recipe, split: Split, work: Path, figures: dict[str, Any]
) -> BertForSequenceClassification:
    """The student, trained now or read from `work` when the same recipe made it."""
    folder, done = work / "student", work / "student" / "recipe.json"
    if not done.is_file() or json.loads(done.read_text()) != asdict(recipe):
        work.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        train.run(recipe, split, encoder.classifier(), folder, log=work / "log.txt")
        done.write_text(json.dumps(asdict(recipe), indent=2))
        (folder / "seconds").write_text(f"{time.monotonic() - started:.0f}")
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    figures["student"] = {
        "recipe": asdict(recipe),
        "held_out": held_out_figures(model, split),
        "seconds": int((folder / "seconds").read_text()),
    }
    return model


def held_out_figures(model: BertForSequenceClassification, split: Split) -> dict[str, Any]:
    """Accuracy of the fp32 weights, and their loss at the best temperature."""
    found = train.logits(model, encoder.tokenizer(), [e.text for e in split.held_out]).numpy()
    labels = evaluate.labels(split.held_out)
    return {
        **evaluate.accuracy(found, split.held_out),
        "loss": calibrate.scaled_cross_entropy(found.astype(np.float64), labels),
    }


def publish(
    model: BertForSequenceClassification,
    split: Split,
    dev: Sequence[Example],
    args: argparse.Namespace,
    figures: dict[str, Any],
) -> None:
    """Calibrate, write both folders, measure them, write the card and the reference."""
    checkpoint = args.work / NAME
    save(model, checkpoint)
    raw = args.work / "uncalibrated"
    seen = [e.text for e in split.sentences[:SMOOTHED_ON]]
    export(checkpoint, raw, texts=seen)
    texts, labels = [e.text for e in split.held_out], evaluate.labels(split.held_out)
    found = evaluate.logits(raw, texts).astype(np.float64)
    t = calibrate.temperature(found, labels)
    crossed = calibrate.cross_fitted(found, labels)
    figures["calibration"] = {
        "temperature": t,
        "before": evaluate.calibration(found.astype(np.float32), split.held_out),
        "cross_fitted": {
            "calibration_error": calibrate.calibration_error(crossed, labels),
            "noise_floor": calibrate.noise_floor(crossed),
            "bins": calibrate.BINS,
            "n": len(labels),
        },
    }
    calibrate.fold(model, t)
    save(model, checkpoint)
    for precision, folder in (("int8", args.target), ("fp32", args.fp32)):
        report = export(checkpoint, folder, precision=precision, texts=seen)
        figures[precision] = {
            "megabytes": report.size / 1e6,
            "sha256": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest(),
        }
    measure(args.target, args.fp32, split, dev, figures)
    reference(args.reference, args.fp32, dev, figures)
    probes = card.answers(args.target)
    (args.target / "README.md").write_text(card.text(figures, probes), encoding="utf-8")


def save(model: BertForSequenceClassification, folder: Path) -> None:
    """A checkpoint with its tokenizer."""
    model.save_pretrained(folder)
    encoder.tokenizer().save_pretrained(folder)


def measure(
    int8: Path, fp32: Path, split: Split, dev: Sequence[Example], figures: dict[str, Any]
) -> None:
    """Everything that is reported of the two folders."""
    plain = [e.text for e in dev]
    found = {"int8": evaluate.logits(int8, plain), "fp32": evaluate.logits(fp32, plain)}
    written = [data.natural(text) for text in plain]
    single = evaluate.alone(int8, plain)
    figures["dev"] = {
        **{name: evaluate.accuracy(logits, dev) for name, logits in found.items()},
        "int8_alone": evaluate.accuracy(single, dev),
        "int8_natural": evaluate.accuracy(evaluate.logits(int8, written), dev),
        "agreement": evaluate.agreement(found["int8"], found["fp32"]),
        "agreement_alone": evaluate.agreement(single, found["int8"]),
        "score_difference_alone": evaluate.score_difference(single, found["int8"]),
        "calibration": evaluate.calibration(found["int8"], dev),
    }
    held_out = [e.text for e in split.held_out]
    apart = {"int8": evaluate.logits(int8, held_out), "fp32": evaluate.logits(fp32, held_out)}
    figures["held_out"] = {
        **{name: evaluate.accuracy(logits, split.held_out) for name, logits in apart.items()},
        "agreement": evaluate.agreement(apart["int8"], apart["fp32"]),
    }


def reference(folder: Path, fp32: Path, dev: Sequence[Example], figures: dict[str, Any]) -> None:
    """What later comparisons need: dev, the fp32 logits on it, and the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "dev_logits_fp32.npy", evaluate.logits(fp32, [e.text for e in dev]))
    rows = "".join(f"{e.text}\t{e.label}\n" for e in dev)
    (folder / "dev.tsv").write_text(f"sentence\tlabel\n{rows}", encoding="utf-8")
    (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
