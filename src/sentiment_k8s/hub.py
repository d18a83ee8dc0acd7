"""Where a model's files are: the bundled folder, a folder, or the Hugging Face hub.

Nothing that a model brings is ever executed: no remote code, no pickle; only ONNX, JSON and text.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .errors import ModelError

BUNDLED = Path(__file__).parent / "bundled"

# Most wanted first; a folder that has none of these names but one single ONNX file is clear too.
ONNX_NAMES = (
    "model_quantized.onnx",
    "model_int8.onnx",
    "model_qint8_avx512_vnni.onnx",
    "model_quint8_avx2.onnx",
    "model.onnx",
)
SMALL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine's disk: what to load, and what to call it in the log."""

    id: str
    revision: str
    onnx: Path
    folders: tuple[Path, ...]  # where its small files may be, in order

    def small_file(self, name: str) -> Path | None:
        """The path of `config.json` and the like, None if the model has none."""
        candidates = (folder / name for folder in self.folders)
        return next((path for path in candidates if path.is_file()), None)


def find_model(
    source: str, revision: str | None = None, model_file: str | None = None
) -> ModelFiles:
    """Find a model, downloading from the hub what is needed and not cached.

    Args:
        source: `bundled`, a folder, or a hub id such as `owner/name`.
        revision: for the hub: a commit, tag or branch.
        model_file: the ONNX file's path inside the model, when it has several.

    Raises:
        ModelError: what is missing, in one sentence.
    """
    if source == "bundled":
        return _in_folder(BUNDLED, "bundled", model_file)
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _in_folder(folder, folder.resolve().name, model_file)
    if folder.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
        raise ModelError(f"The model folder {source} does not exist.")
    return _on_hub(source, revision, model_file)


def choose_onnx(files: list[str], model_file: str | None, where: str) -> str:
    """The ONNX file to serve among a model's files (posix paths).

    Raises:
        ModelError: there is none, or it is not clear which.
    """
    onnx = [name for name in files if name.endswith(".onnx")]
    if model_file is not None:
        if model_file in onnx:
            return model_file
        raise ModelError(
            f"{where} has no file {model_file}; it has {', '.join(onnx) or 'no ONNX'}."
        )
    for wanted in ONNX_NAMES:
        for folder in ("", "onnx/"):
            if folder + wanted in onnx:
                return folder + wanted
    if len(onnx) == 1:
        return onnx[0]
    if onnx:
        raise ModelError(
            f"{where} has several ONNX files; say one by SENTIMENT_MODEL_FILE: {onnx}."
        )
    raise ModelError(
        f"{where} has no ONNX file; make a folder that has one by "
        f"`sentiment model export {where} DIR` and serve that."
    )


def _in_folder(folder: Path, name: str, model_file: str | None) -> ModelFiles:
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*.onnx")]
    onnx = folder / choose_onnx(sorted(files), model_file, str(folder))
    with onnx.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return ModelFiles(name, digest[:16], onnx, _small_file_folders(folder, onnx))


def _small_file_folders(root: Path, onnx: Path) -> tuple[Path, ...]:
    return (root, onnx.parent) if onnx.parent != root else (root,)


def _on_hub(repo: str, revision: str | None, model_file: str | None) -> ModelFiles:
    # Imported here: it costs a fifth of a second that a bundled model need not pay.
    import huggingface_hub as hub
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = f" at revision {revision}" if revision else ""
    try:
        try:
            info = hub.HfApi().model_info(repo, revision=revision)
        except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
            raise
        except Exception:  # no network, or a hub in trouble: what is cached will do
            root = _cached_snapshot(repo, revision)
            files = [path.relative_to(root).as_posix() for path in root.rglob("*.onnx")]
            chosen = choose_onnx(sorted(files), model_file, repo)
        else:
            files = [sibling.rfilename for sibling in info.siblings or []]
            chosen = choose_onnx(sorted(files), model_file, repo)
            patterns = [*_wanted_small_files(chosen), chosen, f"{chosen}_data", f"{chosen}.data"]
            # By its name, not by info.sha: so the cache knows the name too when the hub is away.
            root = Path(hub.snapshot_download(repo, revision=revision, allow_patterns=patterns))
    except ModelError:
        raise
    except GatedRepoError:
        raise ModelError(f"{repo} is gated: accept its terms and set HF_TOKEN.") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(
            f"There is no model {repo!r} on the hub, nor a folder of that name here "
            "(a private one needs HF_TOKEN)."
        ) from None
    except RevisionNotFoundError:
        raise ModelError(f"The hub's model {repo} has no revision {revision}.") from None
    except LocalEntryNotFoundError:
        raise ModelError(
            f"The hub cannot be reached, and {repo}{at} is not in the cache: "
            "check the network, or `sentiment model pull` it where there is one."
        ) from None
    except Exception as error:  # the library lets its HTTP client's own exceptions through
        raise ModelError(f"{repo}{at} could not be downloaded: {error}.") from None
    return ModelFiles(repo, root.name, root / chosen, _small_file_folders(root, root / chosen))


def _cached_snapshot(repo: str, revision: str | None) -> Path:
    """The folder of a model that was downloaded before.

    Not by `snapshot_download(local_files_only=True)`: that wants every file of the repository, and
    we download only those that we need.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import LocalEntryNotFoundError

    config = try_to_load_from_cache(repo, "config.json", revision=revision)
    if not isinstance(config, str) or not any(Path(config).parent.rglob("*.onnx")):
        raise LocalEntryNotFoundError(f"{repo} is not in the cache")
    return Path(config).parent


def _wanted_small_files(onnx: str) -> list[str]:
    folder = PurePosixPath(onnx).parent
    beside = [] if str(folder) == "." else [f"{folder}/{name}" for name in SMALL_FILES]
    return [*SMALL_FILES, *beside]
