"""A callback for the Transformers Trainer: applies changes of its arguments.

The Trainer's own TensorBoard callback logs all arguments and the end, so nothing else is logged here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from nextrun._overrides import overrides

if TYPE_CHECKING:

    class TrainerCallback:
        """The part of the Trainer's callbacks that is used."""

else:
    from transformers import TrainerCallback

__all__ = ["NextrunCallback"]

# Each knob with the argument that is it.
_ARGUMENTS = {
    "learning_rate": "learning_rate",
    "max_steps": "max_steps",
    "batch_size": "per_device_train_batch_size",
    "seed": "seed",
}


class NextrunCallback(TrainerCallback):
    """Applies `learning_rate`, `max_steps`, `batch_size`, `gradient_clip` and `seed` of an experiment.

    Give it to the Trainer itself, `Trainer(callbacks=[NextrunCallback()])`: it changes the arguments before they are used.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ready = False

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Changes the arguments."""
        self._ready = True
        changes = overrides()
        for knob, argument in _ARGUMENTS.items():
            if changes.get(knob) is not None:
                setattr(args, argument, changes[knob])
        if "gradient_clip" in changes:
            # The Trainer takes 0 for none.
            args.max_grad_norm = changes["gradient_clip"] or 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuses to train if a change could not be applied.

        Raises:
            RuntimeError: it was added after the Trainer was made.
        """
        if not self._ready and overrides():
            raise RuntimeError("give NextrunCallback to the Trainer itself: Trainer(…, callbacks=[NextrunCallback()])")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Optional[Any]:
        """Ends an experiment after its steps, regardless of other settings."""
        most = overrides().get("max_steps")
        if most is not None and state.global_step >= int(most):
            control.should_training_stop = True
            return control
        return None
