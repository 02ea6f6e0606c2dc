"""A module as a folder: config.json says how it is made, and model.safetensors has its tensors. No pickle anywhere.

`Pretrained` gives a class `save_pretrained` and `from_pretrained`, as models of the Hugging Face hub have them. A path is a
local folder and nothing else. Only ``"hf://owner/name"`` is fetched, by huggingface_hub.
"""

from __future__ import annotations

import json
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from vqtheory._base import check
from vqtheory._base.config import arrays_of, parse, text
from vqtheory._base.extras import missing
from vqtheory._base.folder import write_beside
from vqtheory.nn.codebooks.base import Codebook

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_SCHEME = "hf://"
_ARRAY = "array."  # before the names of arrays that a rule has, such as the features of GraphVQ


class Pretrained:
    """Saves a module to a folder and reads it again. A subclass says its `arguments`."""

    _kinds: ClassVar[dict[str, type[Pretrained]]] = {}
    _words: ClassVar[tuple[type, ...]] = ()  # that the texts of its arguments may call, beside the public rules

    def __init_subclass__(cls, words: tuple[type, ...] = (), **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._words = (*cls._words, *words)
        known = Pretrained._kinds.get(cls.__name__)
        if known is None or not known.__module__.startswith("vqtheory."):  # a class of somebody's may be defined again
            Pretrained._kinds[cls.__name__] = cls

    def arguments(self) -> dict[str, Any]:
        """What the class has to be called with to make the module as it is: texts, numbers, rules and modules."""
        raise NotImplementedError

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, which `from_pretrained` reads; files of these names are replaced.

        Needs the extra "hub". The state of an optimizer, of a `Monitor` or a `Replacement` is not in it.

        Parameters
        ----------
        folder : str or Path
            Made where there is none.

        Raises
        ------
        ValueError
            For a path that is no folder's, and for a model around a quantizer of another package.
        ImportError
            Where safetensors is not installed.
        """
        owner = f"{type(self).__name__}.save_pretrained"
        target, format_ = check.path(owner, "folder", folder, "the path of a folder"), _package(owner, "safetensors.torch")
        if target.exists() and not target.is_dir():
            raise check.fail(owner, "folder", "the path of a folder, not of a file", str(target))
        config = {"library": "vqtheory", **_described(owner, self)}
        weights = format_.save(_tensors(self), {"format": "pt"})
        target.mkdir(parents=True, exist_ok=True)
        write_beside(target / WEIGHTS, weights)
        write_beside(target / CONFIG, json.dumps(config, indent=2).encode())

    @classmethod
    def from_pretrained(cls, source: str | Path, *, revision: str | None = None, token: str | bool | None = None) -> Self:
        """Make a module that `save_pretrained` has written, in evaluation mode.

        Parameters
        ----------
        source : str or Path
            A local folder. Nothing is fetched, whether it is there or not. Of the Hugging Face hub it is
            ``"hf://owner/name"``, which is the one way to have something fetched.
        revision, token : str, optional
            Of the hub: a branch, tag or commit, and the right to read a private repository.

        Raises
        ------
        FileNotFoundError
            For a folder that is not there, or has no such files.
        ValueError
            For files that are damaged, or of another class.
        ImportError
            Where safetensors, or huggingface_hub for a hub's source, is not installed.
        """
        owner = f"{cls.__name__}.from_pretrained"
        folder = _local(owner, source, revision, token)
        tensors = _read_tensors(owner, folder / WEIGHTS)
        try:
            config = json.loads((folder / CONFIG).read_text("utf-8"))
            module = _made(config, {name: value for name, value in tensors.items() if name.startswith(_ARRAY)})
            state = {name: value for name, value in tensors.items() if not name.startswith(_ARRAY)}
            module.load_state_dict(state)
            module.eval()
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, RecursionError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{folder / CONFIG} and {WEIGHTS} are not of a module of vqtheory: {reason}") from None
        if not isinstance(module, cls):
            raise ValueError(f"{folder} has a {type(module).__name__}: {type(module).__name__}.from_pretrained reads it.")
        return module

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool = False,
        token: str | bool | None = None,
        message: str = "Upload a module of vqtheory",
    ) -> str:
        """Put what `save_pretrained` writes into a repository of the Hugging Face hub; returns the address of the commit.

        Parameters
        ----------
        repo : str
            ``"owner/name"``, made where there is none.
        private : bool, default False
            Of a repository that is made.
        token : str, optional
            The right to write; by default the one of `hf auth login`.
        message : str
            Of the commit.
        """
        owner = f"{type(self).__name__}.push_to_hub"
        check.instance(owner, "repo", repo, str, "a text such as 'owner/name'")
        hub = _package(owner, "huggingface_hub").HfApi(token=token)
        name = hub.create_repo(repo.removeprefix(_SCHEME), private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return str(hub.upload_folder(repo_id=name, folder_path=folder, commit_message=message))


def _package(owner: str, name: str) -> Any:
    """A module of the extra "hub"."""
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise ImportError(missing(owner, package, "hub")) from None


def _described(owner: str, module: Any) -> dict[str, Any]:
    """The class and the arguments of a module, and of the modules among these."""
    if Pretrained._kinds.get(type(module).__name__) is not type(module):
        raise check.fail(
            owner, "quantizer", "a quantizer of vqtheory.nn, whose arguments can be written", type(module).__name__
        )
    arguments = {name: _written(owner, value) for name, value in module.arguments().items()}
    return {"class": type(module).__name__, "arguments": arguments}


def _written(owner: str, value: Any) -> Any:
    if isinstance(value, nn.Module):
        return _described(owner, value)
    return value if value is None or isinstance(value, (str, bool, int, float)) else {"text": text(value)}


def _tensors(module: Any) -> dict[str, Tensor]:
    """The state of a module, and the arrays of its rules."""
    rules = [part.arguments().get("rule") for part in module.modules() if isinstance(part, Pretrained)]
    arrays = {name: array for rule in rules for name, array in arrays_of(rule).items()}
    state = {name: value.detach().contiguous() for name, value in module.state_dict().items()}
    return state | {f"{_ARRAY}{name}": torch.from_numpy(array.copy()) for name, array in arrays.items()}


def _made(config: Any, arrays: dict[str, Tensor]) -> Any:
    """The module that a configuration describes."""
    name, arguments = config["class"], dict(config["arguments"])
    if name not in Pretrained._kinds:
        raise ValueError(f"there is no class {check.short(name)}")
    kind = Pretrained._kinds[name]
    return kind(**{key: _value(value, arrays, kind._words) for key, value in arguments.items()})


def _value(value: Any, arrays: dict[str, Tensor], words: tuple[type, ...]) -> Any:
    if not isinstance(value, dict):
        return value
    if "class" in value:
        return _made(value, arrays)
    known = {name.removeprefix(_ARRAY): array.numpy() for name, array in arrays.items()}
    return parse(value["text"], known, Codebook.named() | {word.__name__: word for word in words})


def _local(owner: str, source: Any, revision: str | None, token: str | bool | None) -> Path:
    """A folder on this machine, fetched if it is named as one of the hub."""
    if isinstance(source, str) and source.startswith(_SCHEME):
        fetch = _package(owner, "huggingface_hub").snapshot_download
        name = source.removeprefix(_SCHEME)
        fetched = Path(fetch(name, revision=revision, token=token, allow_patterns=[CONFIG, WEIGHTS]))
        for file in (CONFIG, WEIGHTS):
            if not (fetched / file).is_file():
                raise FileNotFoundError(f"There is no file {file!r} in {source}.")
        return fetched
    folder = check.path(owner, "source", source, "a folder, or hf://owner/name")
    for path in (folder, folder / CONFIG, folder / WEIGHTS):
        if not path.exists():
            kind = "folder" if path is folder else "file"
            raise FileNotFoundError(
                f"There is no {kind} {str(path)!r}. Nothing was fetched: a repository of the hub is named as hf://owner/name."
            )
    return folder


def _read_tensors(owner: str, path: Path) -> dict[str, Tensor]:
    load = _package(owner, "safetensors.torch").load_file
    try:
        return load(path)
    except Exception as error:  # of a damaged file, each of safetensors' own kinds
        raise ValueError(f"Cannot read {str(path)!r} as safetensors: {error}") from None
