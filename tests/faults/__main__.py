"""The campaign from the command line: `python -m tests.faults --rounds 200`."""

import secrets
import signal
import sys
from pathlib import Path

import click

from bench.report import save

from .campaign import campaign
from .report import Report


@click.command()
@click.option("--rounds", default=200, help="Rounds, each with a fault or two.")
@click.option("--seed", type=int, help="Of an earlier run, to do the same again.")
@click.option("--most-seconds", default=5.0, help="That a fault lasts.")
@click.option("--spool", type=click.Choice(["on", "strict"]), default="on")
@click.option(
    "--json", "path", type=click.Path(path_type=Path), help="File for the figures, so far."
)
def main(rounds: int, seed: int | None, most_seconds: float, spool: str, path: Path | None) -> None:
    """Do faults to a server under load; fail if an answer is lost or a row is there twice."""
    for ending in (signal.SIGINT, signal.SIGTERM):  # both leave nothing behind
        signal.signal(ending, signal.default_int_handler)
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    click.echo(f"seed {seed}")

    def follow(faults: str, report: Report) -> None:
        seconds, answers = report.figures["seconds"], report.figures["requests answered"]
        violations = f", {len(report.violations)} violations" if report.violations else ""
        click.echo(f"{seconds:6} s {answers:7} answers{violations}  {faults}")
        save(path, report.as_dict())

    report = campaign(rounds, seed, most_seconds=most_seconds, spool=spool, follow=follow)
    save(path, report.as_dict())
    click.echo(report)
    sys.exit(bool(report.violations))


if __name__ == "__main__":
    main()
