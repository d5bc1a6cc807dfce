"""A callback for Keras: logs settings and the end, and applies a learning rate and a number of steps."""

from __future__ import annotations

import importlib
import logging
import os
from typing import TYPE_CHECKING, Any, Dict, Optional

from nextrun._log import log, log_end
from nextrun._overrides import overrides

if TYPE_CHECKING:

    class Callback:
        """The part of Keras' callbacks that is used."""

        model: Any
        params: Dict[str, Any]

else:
    from keras.callbacks import Callback

__all__ = ["NextrunCallback"]

_logger = logging.getLogger(__name__)


class NextrunCallback(Callback):
    """Logs the settings of `fit` and its end; applies `learning_rate` and `max_steps` of an experiment.

    Args:
        log_dir: the folder that the TensorBoard callback writes to.
        settings: what the callback cannot see, such as `batch_size=32`.

    Use it beside the TensorBoard callback: `callbacks=[TensorBoard(log_dir), NextrunCallback(log_dir, batch_size=32)]`.
    """

    def __init__(self, log_dir: "str | os.PathLike[str]", **settings: Any) -> None:
        super().__init__()
        self._log_dir = os.fspath(log_dir)
        self._settings = settings
        self._writer: Any = None
        self._steps = 0
        self._most: Optional[int] = None

    def on_train_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        """Applies the changes, then logs the settings with them."""
        changes = overrides()
        optimizer = self.model.optimizer
        if changes.get("learning_rate") is not None:
            try:
                optimizer.learning_rate = float(changes["learning_rate"])
            except TypeError:
                # A schedule cannot be replaced by assignment.
                _logger.warning("the optimizer has a schedule: its learning rate is not changed")
        epochs, steps = self.params.get("epochs"), self.params.get("steps")
        most = epochs * steps if epochs and steps else None
        if changes.get("max_steps") is not None:
            self._most = int(changes["max_steps"])
            most = self._most if most is None else min(most, self._most)
        found: Dict[str, Any] = {
            "learning_rate": _number(getattr(optimizer, "learning_rate", None)),
            "optimizer": type(optimizer).__name__,
            "loss": getattr(self.model, "loss", None),
            "epochs": epochs,
            "steps_per_epoch": steps,
            "max_steps": most,
            **self._settings,
        }
        tensorflow = importlib.import_module("tensorflow")
        self._writer = tensorflow.summary.create_file_writer(self._log_dir)
        log(self._writer, **{name: value for name, value in found.items() if value is not None})

    def on_train_batch_end(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        """Ends an experiment after its steps."""
        self._steps += 1
        if self._most is not None and self._steps >= self._most:
            self.model.stop_training = True

    def on_train_end(self, logs: Optional[Dict[str, Any]] = None) -> None:
        """Logs the end."""
        if self._writer is not None:
            log_end(self._writer)
            self._writer.close()
            self._writer = None


def _number(value: Any) -> Optional[float]:
    try:
        return float(value)
    except (TypeError, ValueError):  # a schedule
        return None
