"""A container that cannot start ends with one sentence, which says what to do."""

from pathlib import Path

from ..tiny_models import write_tiny_model
from .containers import run_once

IN_KUBERNETES = ("--env", "KUBERNETES_SERVICE_HOST=10.0.0.1")


def refusal(*command: str, options: tuple[str, ...] = ()) -> str:
    """The one sentence that a command ends with."""
    status, said = run_once(*command, options=options)
    assert status == 1
    [sentence] = [line for line in said.splitlines() if not line.startswith("{")]
    return sentence.removeprefix("Error: ")


def test_a_required_log_without_a_database_is_refused() -> None:
    sentence = refusal(options=("--env", "SENTIMENT_RECORD=required"))
    assert "SENTIMENT_RECORD=required, but there is nowhere to write" in sentence


def test_a_model_folder_that_is_absent_is_named() -> None:
    assert refusal("serve", "--model", "/models/none") == (
        "The model folder /models/none does not exist."
    )


def test_a_model_that_is_broken_is_named(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    (folder / "model.onnx").write_bytes(b"cut off")
    folder.chmod(0o755)
    mounted = ("--volume", f"{folder}:/models/broken:ro")
    sentence = refusal("serve", "--model", "/models/broken", options=mounted)
    assert "/models/broken/model.onnx" in sentence


def test_a_database_that_cannot_be_reached_is_named() -> None:
    address = "postgresql://user:secret@127.0.0.1:1/ai_db"
    sentence = refusal("db", "upgrade", options=("--env", f"DATABASE_URL={address}"))
    assert "127.0.0.1:1/ai_db is not available" in sentence
    assert "secret" not in sentence


def test_on_kubernetes_the_sentence_is_the_pods_last_state(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    log.chmod(0o666)
    mounted = (*IN_KUBERNETES, "--volume", f"{log}:/dev/termination-log")
    assert refusal("serve", "--model", "/models/none", options=mounted) == log.read_text()
