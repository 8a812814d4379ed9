"""Upload of an exported folder to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi

from realuid.errors import ExportError


def push_to_hub(folder: Path, repo_id: str, private: bool = False) -> str:
    """Upload a folder, creating the repository where there is none.

    The token is Hugging Face's own affair (`hf auth login`, or HF_TOKEN): it is neither read nor written here.

    Args:
        folder: what `realuid export --to diffusers` wrote.
        repo_id: 'owner/name'.
        private: of a repository that is created.

    Returns:
        the address of the upload.

    Raises:
        ExportError: where the Hub refuses or cannot be reached; the folder stays as it is.
    """
    api = HfApi()
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Export by realuid"))
    except Exception as error:  # names, rights, network: each has a type of its own, and one of the HTTP library's
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"'{folder}' was written, but not uploaded to '{repo_id}' ({reason}).") from error
