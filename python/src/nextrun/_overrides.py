"""The changes of an experiment, read from its environment."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Optional, TypeVar, cast

T = TypeVar("T")


def overrides() -> Dict[str, Any]:
    """The settings that this run changes, by canonical name (`learning_rate`, `batch_size`, …).

    Empty where the run is no experiment. A value of `None` means the script's own default.

    Raises:
        ValueError: `NEXTRUN_OVERRIDES` is set and is not a JSON object. A run that passed over its changes would be
            taken for an experiment that it is not.
    """
    text = os.environ.get("NEXTRUN_OVERRIDES", "")
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"NEXTRUN_OVERRIDES is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError("NEXTRUN_OVERRIDES is not a JSON object")
    return cast("Dict[str, Any]", found)


def setting(name: str, default: T) -> T:
    """The value of a setting: that of the experiment, otherwise `default`.

    Write the name as a text in the source: nextrun reads there which settings a script takes.

    A number has the type of its default: `setting("batch_size", 32)` is an `int`.

    Raises:
        ValueError: as `overrides`.
    """
    value = overrides().get(name)
    if value is None:
        return default
    if isinstance(default, bool) or not isinstance(value, (int, float)) or isinstance(value, bool):
        return cast(T, value)
    if isinstance(default, int) and float(value).is_integer():
        return cast(T, int(value))
    if isinstance(default, float):
        return cast(T, float(value))
    return cast(T, value)


def log_dir(default: "str | os.PathLike[str]") -> str:
    """The log directory: that of the experiment, otherwise `default`.

    An experiment that logged into the folder of its baseline would spoil both, so nextrun starts none of a script that
    always logs to the same folder. Call this by its name in the source: nextrun reads there that the script asks.
    """
    return os.environ.get("NEXTRUN_LOG_DIR") or os.fspath(default)


def suggestion_id() -> Optional[str]:
    """The suggestion that this run carries out; `None` if it is not an experiment."""
    return os.environ.get("NEXTRUN_SUGGESTION_ID") or None


def is_experiment() -> bool:
    """Whether nextrun started this run."""
    return suggestion_id() is not None
