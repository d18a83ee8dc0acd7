"""What is generated from the code is checked in as the code is now."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_page_of_settings_is_fresh() -> None:
    generate = runpy.run_path(str(ROOT / "tools/generate.py"))
    fresh = generate["settings_page"]()
    assert (ROOT / "docs/settings.md").read_text() == fresh, "run: make generate"
