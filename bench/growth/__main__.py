"""`python -m bench.growth load | length | batch | cpu | replicas | rows`."""

import argparse
from pathlib import Path

from .. import machine, pictures, report, stage
from . import batch, cpu, length, load, replicas, rows

QUESTIONS = {
    "load": load,
    "length": length,
    "batch": batch,
    "cpu": cpu,
    "replicas": replicas,
    "rows": rows,
}


def main(arguments: list[str] | None = None) -> None:
    """Measure one of them and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    asked = parser.add_subparsers(dest="what", required=True)
    for name, question in QUESTIONS.items():
        about = (question.__doc__ or "").partition("\n\n")[0]
        one = asked.add_parser(name, help=about, description=about)
        stage.add_options(one)
        one.add_argument("--plot", type=Path, metavar="PATH", help=".svg or .png")
        one.set_defaults(rounds=1)
        question.add_options(one)
    options = parser.parse_args(arguments)
    question = QUESTIONS[options.what]
    with stage.staged(options) as here:
        result = {
            "what": options.what,
            "model": options.model,
            "cores": [options.server_cores, options.client_cores],
            "machine": machine.facts(),
            "described": machine.described(),
            **question.measure(here, options),
            "stolen_share": here.stolen.share(),
        }
    result["panels"] = question.panels(result)
    print(f"Machine: {result['described']}; stolen {result['stolen_share']:.1%}.\n")
    print(question.described(result))
    report.save(options.json, result)
    if options.plot:
        pictures.draw(result, options.plot)


if __name__ == "__main__":
    main()
