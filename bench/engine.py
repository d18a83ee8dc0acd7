"""The bare engine beside the machine's sgemm peak: `python -m bench.engine --help`."""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from . import gemm, machine, report, shapes, texts
from .work import Shape, shape_of

if TYPE_CHECKING:
    from sentiment_k8s.hub import ModelFiles
    from sentiment_k8s.model import Model
    from sentiment_k8s.tokenizer import Tokens

    Batches = list[list[Tokens]]

ROUND_SECONDS = 2.0  # at least, for one way of batching


def main() -> None:
    """Measure in rounds, sgemm and every way of batching in each, and print the shares."""
    options = _options()
    gemm.honest_openblas(len(options.cores))  # before numpy is imported
    os.sched_setaffinity(0, options.cores)
    stolen = machine.StolenTime(options.cores)
    result = measure(options)
    result["stolen_share"] = stolen.share()
    print(described(result))
    report.save(options.json, result)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds.

    Returns:
        Facts, the peak of each round, and for each precision and way of batching the texts a
        second of each round and their shares of what that round's peak allows in float32.
    """
    from sentiment_k8s.hub import find_model
    from sentiment_k8s.model import Model

    from . import sgemm

    sentences = texts.dev_sentences(options.sst2 or texts.sst2_folder(), options.texts)
    ways: dict[tuple[str, str], tuple[Model, Batches]] = {}
    for precision, folder in folders(options).items():
        files = find_model(folder)
        model = Model(files, len(options.cores), options.engine)
        tokens = model.tokenizer.encode(sentences)
        shape, lengths = shape_in(files), [len(one) for one in tokens]
        if options.one:
            ways[precision, "batch 1"] = model, [[one] for one in tokens]
        for budget in options.budgets:
            ways[precision, f"budget {budget}"] = model, batches(tokens, budget)
    needed = shape.mean(lengths)
    peaks: list[float] = []
    rates: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        peaks.append(sgemm.peak()[0])
        for way, (model, grouped) in ways.items():
            rates[way].append(rate(model, grouped))
    return {
        "machine": machine.facts(),
        "described": machine.described(),
        "cores": options.cores,
        "kernel": sgemm.kernel(),
        "sgemm_multiply_adds_a_second": peaks,
        "multiply_adds_a_token": shape.a_token,
        "multiply_adds_a_text": needed,
        "least_multiply_adds_a_text": shape.mean_least(lengths),
        "texts": len(sentences),
        "mean_tokens": sum(lengths) / len(lengths),
        "bound_texts_a_second": [peak / needed for peak in peaks],
        "ways": [
            {
                "engine": ways[precision, batching][0].engine.name,
                "precision": precision,
                "batching": batching,
                "padding": padding(*ways[precision, batching]),
                "texts_a_second": measured,
                "share": [rate * needed / peak for rate, peak in zip(measured, peaks, strict=True)],
            }
            for (precision, batching), measured in rates.items()
        ],
    }


def batches(tokens: Sequence["Tokens"], budget: int) -> "Batches":
    """Sorted by length and cut where the longest times the number would exceed the budget."""
    grouped: Batches = []
    for one in sorted(tokens, key=len):
        if grouped and (len(grouped[-1]) + 1) * len(one) <= budget:
            grouped[-1].append(one)
        else:
            grouped.append([one])
    return grouped


def padding(model: "Model", grouped: "Batches") -> float:
    """The share of computed tokens that are padding."""
    if not model.engine.pads:
        return 0.0
    computed = sum(len(batch) * max(map(len, batch)) for batch in grouped)
    return 1 - sum(len(one) for batch in grouped for one in batch) / computed


def rate(model: "Model", grouped: "Batches") -> float:
    """Texts a second over whole passes, after one batch to warm up."""
    model.run(max(grouped, key=lambda batch: len(batch) * len(batch[-1])))
    answered, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < ROUND_SECONDS:
        for batch in grouped:
            model.run(batch)
            answered += len(batch)
    return answered / elapsed


def described(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    peak = [2e-9 * each for each in result["sgemm_multiply_adds_a_second"]]
    bound = result["bound_texts_a_second"]
    rows = [
        {
            "engine": way["engine"],
            "precision": way["precision"],
            "batching": way["batching"],
            "padding": f"{way['padding']:.1%}",
            "texts/s": report.spread(way["texts_a_second"], 1),
            "share of the fp32 bound": report.spread(way["share"]),
        }
        for way in result["ways"]
    ]
    return "\n".join(
        [
            f"Machine: {result['described']}; stolen {result['stolen_share']:.1%}.",
            f"Cores {result['cores']}, sgemm {report.spread(peak, 1)} GFLOP/s by numpy "
            f"({result['kernel']}), {len(peak)} rounds.",
            f"{result['texts']} texts, mean {result['mean_tokens']:.1f} tokens, "
            f"{result['multiply_adds_a_token'] / 1e6:.2f} M multiply-adds a token in linear "
            f"layers, {result['multiply_adds_a_text'] / 1e6:.1f} M a text: the sgemm peak allows "
            f"{median(bound):.1f} texts/s in fp32. (A head that reads one token needs "
            f"{result['least_multiply_adds_a_text'] / 1e6:.1f} M.)",
            "",
            report.table(rows),
        ]
    )


def folders(options: argparse.Namespace) -> dict[str, str]:
    """The model folders that the options name, by precision.

    Raises:
        SystemExit: they name none.
    """
    if options.shape:
        return shapes.folders(options.shape)
    chosen = {"fp32": options.fp32, "int8": options.int8}
    if not any(chosen.values()):
        raise SystemExit("Say what to measure: --fp32 DIR, --int8 DIR or --shape NAME.")
    return {precision: folder for precision, folder in chosen.items() if folder}


def shape_in(files: "ModelFiles") -> Shape:
    """Of a model that can be loaded."""
    config = files.small_file("config.json")
    assert config is not None  # the model would not have loaded
    return shape_of(json.loads(config.read_text()))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which cores, models and texts."""
    parser.add_argument("--cores", type=machine.parse_cores, default=[0], help="0, 0,1 or 0-3")
    parser.add_argument("--fp32", metavar="DIR", help="model folder, as `make model` leaves it")
    parser.add_argument("--int8", metavar="DIR", default="bundled", help="folder, or bundled")
    parser.add_argument("--shape", choices=shapes.SHAPES, help="random weights of this shape")
    parser.add_argument(
        "--engine", choices=("auto", "onnxruntime"), default="auto", help="auto: as the server's"
    )
    parser.add_argument("--sst2", type=Path, metavar="DIR", help="folder with dev.tsv")
    parser.add_argument("--texts", type=int, help="only so many of the sentences")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="PATH")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__)
    add_options(parser)
    parser.add_argument("--budgets", type=int, nargs="*", default=[128, 256, 512, 1024])
    parser.add_argument("--no-one", dest="one", action="store_false", help="no batches of 1")
    return parser.parse_args()


if __name__ == "__main__":
    main()
