"""Weights of networks of other projects, from files that the user names."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from autogas.errors import TORCH_LOAD_ERRORS, InputError


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a ``.safetensors`` file, or a ``.pth`` of which nothing but tensors is unpickled.

    Raises:
        InputError: a file that cannot be read or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"weights {str(path)!r}: cannot be read ({error.strerror or error})") from None
    except (SafetensorError, pickle.UnpicklingError, *TORCH_LOAD_ERRORS):
        raise InputError(f"weights {str(path)!r}: expected a file of tensors") from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"weights {str(path)!r}: expected a file of tensors by name")
    return content
