"""What is in the image, and whether any of it is known to be vulnerable: report.py sbom | audit

`sbom` writes build/sbom.json (CycloneDX); `audit` asks PyPI's advisories, package by package.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from click import echo

IMAGE = "sentiment-app:latest"
CYCLONEDX = "cyclonedx-bom==7.5.0"
PIP_AUDIT = "pip-audit==2.10.1"
UV = Path(sys.executable).parent / "uv"


def main() -> None:
    match sys.argv[1:]:
        case ["sbom"]:
            sbom(Path("build/sbom.json"))
        case ["audit"]:
            audit()
        case _:
            sys.exit(__doc__)


def sbom(file: Path) -> None:
    """Write the image's Python packages, with licences and what needs what."""
    file.parent.mkdir(exist_ok=True)
    with packages_of(IMAGE) as (folder, site_packages):
        # An environment that sees the image's packages and nothing else.
        environment = folder / "environment"
        run(UV, "venv", "--quiet", environment)
        (own,) = environment.glob("lib/python3*/site-packages")
        (own / "image.pth").write_text(f"{site_packages}\n")
        tool = (UV, "tool", "run", "--quiet", "--from", CYCLONEDX, "cyclonedx-py")
        run(*tool, "environment", "--output-reproducible", "-o", file, environment)
    count = len(json.loads(file.read_text())["components"])
    echo(f"{file}: {count} packages of {IMAGE}")


def audit() -> None:
    """Say which packages have known vulnerabilities, and which could not be looked up."""
    with packages_of(IMAGE) as (folder, site_packages):
        answer = folder / "audit.json"
        tool = (UV, "tool", "run", "--quiet", "--from", PIP_AUDIT, "pip-audit")
        options = ("--progress-spinner", "off", "--format", "json", "--output", answer)
        # Its status is 1 for findings as for failures; the file tells them apart.
        told = subprocess.run(
            [*tool, *options, "--path", site_packages], stderr=subprocess.PIPE, text=True
        )
        if not answer.exists():
            sys.exit(f"NOT AUDITED: pip-audit failed.\n{told.stderr}")
        dependencies = json.loads(answer.read_text())["dependencies"]
    others = [one for one in dependencies if one["name"] != "sentiment-k8s"]
    unknown = [one["name"] for one in others if "skip_reason" in one]
    found = [(one, vulnerability) for one in others for vulnerability in one.get("vulns", [])]
    for one, vulnerability in found:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        echo(f"{one['name']} {one['version']}: {vulnerability['id']}, fixed in {fixed}")
    if unknown:
        sys.exit(
            f"NOT AUDITED: PyPI's advisories could not be had for {len(unknown)} of "
            f"{len(others)} packages, such as {unknown[0]}: try again where pypi.org is reached."
        )
    if found:
        sys.exit(f"{len(found)} known vulnerabilities.")
    echo(f"No known vulnerability in {len(others)} packages of {IMAGE}.")


@contextmanager
def packages_of(image: str) -> Iterator[tuple[Path, Path]]:
    """A copy of an image's installed packages: the temporary folder, and their folder in it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        container = run("docker", "create", image).strip()
        try:
            run("docker", "cp", f"{container}:/opt/sentiment/lib", folder)
        finally:
            run("docker", "rm", container)
        (site_packages,) = folder.glob("lib/python3*/site-packages")
        yield folder, site_packages


def run(*command: str | Path) -> str:
    """Run a program and return its output; end with what it said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
