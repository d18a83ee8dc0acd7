"""Write what is generated from the code: docs/settings.md. A test fails when it is stale."""

from pathlib import Path

from sentiment_k8s.settings import settings_table

HEAD = """\
# Settings

Generated from `src/sentiment_k8s/settings.py` by `make generate`. Each is an environment variable
and a flag of `sentiment serve`; flags win. A variable that is empty counts as unset, and one that
starts with `SENTIMENT_` and is not in this table is refused at start, since it is a typing mistake
(except those that Kubernetes makes for a Service of that name).

"""


def settings_page() -> str:
    """The text of docs/settings.md."""
    return HEAD + settings_table()


if __name__ == "__main__":
    Path("docs/settings.md").write_text(settings_page())
