"""A callback for Lightning: logs settings and the end, and applies changes that a trainer accepts before it trains."""

from __future__ import annotations

import importlib.util
import math
from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional

from nextrun._log import log, log_end
from nextrun._overrides import overrides

if TYPE_CHECKING:

    class Callback:
        """The part of Lightning's callbacks that is used."""

elif importlib.util.find_spec("lightning") is not None:
    from lightning.pytorch import Callback
else:
    from pytorch_lightning import Callback

__all__ = ["NextrunCallback"]


class NextrunCallback(Callback):
    """Logs the settings of a training and its end; applies `learning_rate`, `max_steps`, `train_examples` (by a limit of
    batches, without shuffling) and `gradient_clip` of an experiment.

    Args:
        settings: what the callback cannot see.

    Use it with a TensorBoard logger: `Trainer(callbacks=[NextrunCallback()])`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._settings = settings

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Applies changes that must precede loading the data."""
        if stage != "fit":
            return
        changes = overrides()
        if changes.get("max_steps") is not None:
            trainer.fit_loop.epoch_loop.max_steps = int(changes["max_steps"])
            # Epochs must not end the run before its steps do.
            trainer.fit_loop.max_epochs = -1
        if "gradient_clip" in changes:
            trainer.gradient_clip_val = changes["gradient_clip"]
        if changes.get("train_examples") is not None:
            batch = self._batch_size(trainer, pl_module)
            trainer.overfit_batches = max(1, math.ceil(changes["train_examples"] / batch)) if batch else 1

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Applies the learning rate, then logs the settings with all changes."""
        rate = overrides().get("learning_rate")
        if rate is not None:
            for optimizer in trainer.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = float(rate)
                    if "initial_lr" in group:
                        group["initial_lr"] = float(rate)
            for config in trainer.lr_scheduler_configs:
                if hasattr(config.scheduler, "base_lrs"):
                    config.scheduler.base_lrs = [float(rate)] * len(config.scheduler.base_lrs)
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        steps = trainer.estimated_stepping_batches
        found: Dict[str, Any] = {
            "learning_rate": groups[0].get("lr") if groups else None,
            "optimizer": type(trainer.optimizers[0]).__name__ if trainer.optimizers else None,
            "batch_size": self._batch_size(trainer, pl_module),
            "max_steps": int(steps) if steps and math.isfinite(steps) and steps > 0 else None,
            "epochs": trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None,
            "gradient_clip": trainer.gradient_clip_val,
            **self._settings,
        }
        for logger in _loggers(trainer):
            log(logger, **{name: value for name, value in found.items() if value is not None})

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Logs the end."""
        for logger in _loggers(trainer):
            log_end(logger)

    @staticmethod
    def _batch_size(trainer: Any, pl_module: Any) -> Optional[int]:
        """The batch size: that of the loader, otherwise that in the module's hyperparameters."""
        size = getattr(trainer.train_dataloader, "batch_size", None)
        for module in (getattr(trainer, "datamodule", None), pl_module):
            if size is None and module is not None:
                size = getattr(module, "batch_size", None)
                if size is None:
                    size = getattr(getattr(module, "hparams", None), "batch_size", None)
        return size if isinstance(size, int) else None


def _loggers(trainer: Any) -> Iterator[Any]:
    """The loggers that write TensorBoard summaries; with several processes, only the first has them."""
    if not trainer.is_global_zero:
        return
    for logger in trainer.loggers:
        if hasattr(getattr(logger, "experiment", None), "add_text"):
            yield logger
