"""Write k8s/ from the chart: the book's files and what they need, for `kubectl apply -f k8s/`."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAD = "# Rendered from sentiment-chart by `make manifests`: change that, not this.\n"
DEMO = "# A demonstration: the password is the book's. Make your own before others can reach it.\n"

# What is only for Helm, or the same everywhere: a student need not read it.
ONLY_FOR_HELM = re.compile(
    r"^ +(helm\.sh/chart|app\.kubernetes\.io/[a-z-]+|checksum/[a-z-]+): .*\n"
    r"|^ +# Another password, token or key needs.*\n",
    re.MULTILINE,
)
EMPTY_ANNOTATIONS = re.compile(r"^( +)annotations:\n(?!\1 )", re.MULTILINE)

# The book's password, so that its commands work as printed; and a token of the same kind.
SECRETS = ("postgresql.password=password", "readToken.value=demo-token")
FILES = ("deployment", "service", "postgresql", "secret", "networkpolicy", "pdb")
ADDONS = {
    "hpa": (
        "hpa",
        "autoscaling.enabled=true",
        "# Needs metrics-server. From now on it decides how many pods there are: take `replicas`\n"
        "# out of deployment.yaml, or applying that again goes back to three for a moment.\n",
    ),
    "ingress": (
        "ingress",
        "ingress.enabled=true",
        "# Needs an Ingress controller, and a sentiment.local in /etc/hosts that leads to it.\n",
    ),
    "loadbalancer": (
        "service",
        "service.type=LoadBalancer",
        "# The Service of service.yaml, with an address from the cloud's load balancer.\n",
    ),
}


def render(template: str, *values: str) -> str:
    """One template of the chart with some values, as a manifest that needs no Helm."""
    helm = subprocess.run(
        [ROOT / "tools/helm"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    command = [helm, "template", "sentiment", ROOT / "sentiment-chart"]
    command += ["--show-only", f"templates/{template}.yaml"]
    for value in values:
        command += ["--set", value]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    text = text.removeprefix("---\n").replace(
        f"# Source: sentiment/templates/{template}.yaml\n", ""
    )
    return EMPTY_ANNOTATIONS.sub("", ONLY_FOR_HELM.sub("", text))


def manifests() -> dict[Path, str]:
    """Each file of k8s/ that is rendered, with its text."""
    folder = ROOT / "k8s"
    files = {folder / f"{name}.yaml": HEAD + render(name, *SECRETS) for name in FILES}
    files[folder / "secret.yaml"] = HEAD + DEMO + render("secret", *SECRETS)
    for name, (template, value, about) in ADDONS.items():
        files[folder / "addons" / f"{name}.yaml"] = HEAD + about + render(template, value)
    return files


if __name__ == "__main__":
    for path, text in manifests().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
