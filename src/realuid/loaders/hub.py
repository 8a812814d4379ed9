"""Files of a model on the Hugging Face hub: those that are read, and no others."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from huggingface_hub import list_repo_files, snapshot_download

from realuid.loaders.diffusers_folder import INDEX

#: Settings, weights, and vocabularies of tokenizers.
_READ = (".json", ".safetensors", ".bin", ".txt", ".model")
#: A file of weights: with the name of a variant, such as fp16, and whole or one of several.
_WEIGHTS = re.compile(r"[\w-]+?(?:\.(?P<variant>[a-zA-Z]\w*))?(?:-\d+-of-\d+)?\.(?P<kind>safetensors|bin)")


def snapshot(name: str, revision: str | None) -> Path:
    """A folder with a model of the hub, downloaded unless it is in the cache.

    Args:
        name: owner/name.
        revision: a branch, a tag or a commit; None: the main branch.
    """
    try:
        wanted = files_to_read(list_repo_files(name, revision=revision))
    except Exception:  # many types: without a network what is in the cache will do, and the rest is said below
        wanted = [f"*{ending}" for ending in _READ]
    return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))


def files_to_read(files: Sequence[str]) -> list[str]:
    """Of the names of a repository's files those that are read.

    A pipeline's weights are in the folders of its parts: what its repository has beside them, such as the same in one
    file, is left out. Of each folder's weights one kind is taken: safetensors rather than .bin, without a variant
    (fp16, non_ema) where there are some without.
    """
    pipeline = INDEX in files
    weights: dict[str, list[tuple[bool, bool, str]]] = defaultdict(list)
    wanted = []
    for file in files:
        path = PurePosixPath(file)
        folder, match = str(path.parent), _WEIGHTS.fullmatch(path.name)
        if path.name.startswith(("openvino", "flax")) or path.suffix not in _READ:
            continue
        if match is None:
            wanted.append(file)
        elif not (pipeline and folder == "."):
            weights[folder].append((bool(match["variant"]), match["kind"] == "bin", file))
    for found in weights.values():
        best = min(kind[:2] for kind in found)
        wanted += [file for *kind, file in found if tuple(kind) == best]
    return sorted(wanted)
