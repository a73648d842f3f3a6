"""Which device a name stands for, and whether it is there."""

from __future__ import annotations

import torch

from lqsep.core.errors import DeviceError


def resolve_device(name: str | torch.device) -> torch.device:
    """``auto`` takes a CUDA device where there is one.

    Raises:
        DeviceError: Unknown, or not available on this machine.
    """
    if isinstance(name, torch.device):
        device = name
    elif name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        try:
            device = torch.device(name)
        except RuntimeError as error:
            raise DeviceError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device '{device}' is not available: {torch.cuda.device_count()} CUDA devices "
            "found; use cpu or auto"
        )
    if device.type not in {"cpu", "cuda"}:
        raise DeviceError(f"device '{device}' is not supported; use auto, cpu, cuda or cuda:N")
    return device
