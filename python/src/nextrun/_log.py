"""Writes settings as one text to the event files, with any kind of writer."""

from __future__ import annotations

import importlib
import json
import logging
from typing import Any, Dict, MutableMapping
from weakref import WeakKeyDictionary

from nextrun._overrides import suggestion_id

# The tag under which nextrun looks for a JSON object of settings; the Transformers Trainer writes the same.
_TAG = "args"

_logger = logging.getLogger(__name__)

# What each writer was told so far: a later call adds to it.
_told: MutableMapping[Any, Dict[str, Any]] = WeakKeyDictionary()


def log(writer: Any, **settings: Any) -> None:
    """Writes settings next to the scalars of a job.

    Args:
        writer: a `SummaryWriter` of PyTorch or tensorboardX, a writer of `tf.summary`, or a TensorBoard logger of Lightning.
        settings: their values by name. nextrun knows the usual names (`lr`, `batch_size`, `optimizer`, …). A class or an
            object counts as its class's name.

    Raises:
        TypeError: the writer is of no such kind.
    """
    writer = _unwrapped(writer)
    try:
        told = _told.setdefault(writer, {})
    except TypeError:  # it cannot be remembered: each call stands for itself
        told = {}
    told.update({name: _plain(value) for name, value in settings.items()})
    experiment = suggestion_id()
    if experiment is not None:
        told.setdefault("NEXTRUN_SUGGESTION_ID", experiment)
        _write(writer, "NEXTRUN_SUGGESTION_ID", experiment)
    _write(writer, _TAG, json.dumps(told, allow_nan=False))


def log_end(writer: Any) -> None:
    """Logs that the job has ended normally, so that nextrun detects the end immediately.

    Call it last, before the writer is closed. Where TensorBoard's own package is missing, nothing is written.
    """
    writer = _unwrapped(writer)
    try:
        if hasattr(writer, "as_default"):
            _end_of_tensorflow(writer)
        else:
            _end_of_summary_writer(writer)
    except ImportError as error:
        _logger.debug("the end of the job is not logged: %s", error)


def _unwrapped(writer: Any) -> Any:
    """The writer of a Lightning logger."""
    if not hasattr(writer, "add_text") and not hasattr(writer, "as_default"):
        writer = getattr(writer, "experiment", writer)
    if not hasattr(writer, "add_text") and not hasattr(writer, "as_default"):
        raise TypeError(f"{type(writer).__name__} writes no TensorBoard summaries")
    return writer


def _write(writer: Any, tag: str, text: str) -> None:
    if hasattr(writer, "add_text"):
        writer.add_text(tag, text, 0)
        writer.flush()
        return
    tensorflow = importlib.import_module("tensorflow")
    with writer.as_default():
        tensorflow.summary.text(tag, text, step=0)
    writer.flush()


def _end_of_tensorflow(writer: Any) -> None:
    tensorflow = importlib.import_module("tensorflow")
    summary = importlib.import_module("tensorboard.plugins.hparams.summary")
    status = importlib.import_module("tensorboard.plugins.hparams.api_pb2").STATUS_SUCCESS
    with writer.as_default():
        tensorflow.summary.experimental.write_raw_pb(summary.session_end_pb(status).SerializeToString(), step=0)
    writer.flush()


def _end_of_summary_writer(writer: Any) -> None:
    # Each library has its own classes of messages.
    ours = "tensorboardX" if type(writer).__module__.startswith("tensorboardX") else "torch.utils.tensorboard"
    *_, end = importlib.import_module(f"{ours}.summary").hparams({"ended": True}, {"ended": 1})
    writer.file_writer.add_summary(end)
    writer.flush()


def _plain(value: Any) -> Any:
    """Converts a value to one that JSON supports."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        # JSON has no NaN and no infinity.
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    item = getattr(value, "item", None)
    if callable(item):  # a scalar of NumPy, PyTorch or TensorFlow
        try:
            return _plain(item())
        except (TypeError, ValueError, RuntimeError):
            return str(value)
    if isinstance(value, type) or callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return type(value).__name__ if type(value).__module__ != "builtins" else str(value)
