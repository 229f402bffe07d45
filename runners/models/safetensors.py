"""Writing bfloat16 tensors in the safetensors format, without torch.

Format: eight bytes little-endian header length, a JSON header padded with blanks to a
multiple of eight, then the tensors' bytes one after the other.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

Bfloat16 = npt.NDArray[np.uint16]  # bit patterns: numpy has no such type


def to_bfloat16(values: npt.NDArray[np.float32]) -> Bfloat16:
    """The upper halves of the float32 bit patterns, rounded to nearest even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return rounded.astype(np.uint16)


def write_tensors(path: Path, tensors: Mapping[str, Bfloat16]) -> None:
    """Write `tensors` (any shapes) to `path` in the order given."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.nbytes
        header[name] = {
            "dtype": "BF16",
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for tensor in tensors.values():
            file.write(tensor.astype("<u2", copy=False).tobytes())
