"""A finished model handed to a model hub, with its card."""

import os
from pathlib import Path

from emogap.artefacts import verify
from emogap.config import Config
from emogap.errors import ModelError, UsageError


def push(config: Config, name: str, repo: str, upload: bool = False, public: bool = False) -> str:
    """Upload ``models/<name>/`` to the hub repository ``repo``; without ``upload`` only say what would be sent.

    The token is read from ``$HF_TOKEN``, the hub's address from ``$HF_ENDPOINT`` where it is not the usual one.
    Returns a line that says what was done. Raises ``MissingInput`` if there is no such model, ``InputError`` if its
    files are not those that the training wrote, ``UsageError`` without a token or with an impossible repository name,
    ``ModelError`` if the hub refuses.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UsageError(f"--to {repo}: no name of a repository; write OWNER/NAME") from error
    folder = config.home.require(config.home.model(name))
    verify(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not upload:
        listed = "\n".join(f"  {path.relative_to(folder)}  {path.stat().st_size:,} bytes" for path in files)
        return f"would send to {repo}:\n{listed}\nnothing was sent; add --upload to do it"
    return _upload(folder, name, repo, public)


def _upload(folder: Path, name: str, repo: str, public: bool) -> str:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    token = os.environ.get("HF_TOKEN")
    if not token:
        raise UsageError("no token: set HF_TOKEN to one that may write to the hub")
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    try:
        api.create_repo(repo, private=not public, exist_ok=True)
        commit = api.upload_folder(folder_path=folder, repo_id=repo, commit_message=f"Add {name}")
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        said = str(error).strip().splitlines()[0]
        raise ModelError(f"{name} was not sent to {repo}: {said}; check HF_TOKEN, name and network") from error
    return f"{name} is at {commit.commit_url}"
