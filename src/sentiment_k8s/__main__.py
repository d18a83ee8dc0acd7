"""`python -m sentiment_k8s` is the command `sentiment`."""

from .cli import main

main(prog_name="sentiment")
