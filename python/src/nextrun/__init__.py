"""Logs the settings of a training job for nextrun, and applies the changes of its experiments.

Nothing here needs nextrun to run: without an experiment there are no changes, and logging writes ordinary TensorBoard
summaries. The package has no dependency; it uses whichever library the program trains with.
"""

from nextrun._log import log, log_end
from nextrun._overrides import is_experiment, log_dir, overrides, setting, suggestion_id

__all__ = ["is_experiment", "log", "log_dir", "log_end", "overrides", "setting", "suggestion_id"]
__version__ = "0.1.0"
