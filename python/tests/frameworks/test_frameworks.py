"""Tests with the real libraries: what nextrun reads from a job, and what an experiment changes.

`NEXTRUN` names the program whose reading is tested.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, TypeVar

NEXTRUN = os.environ.get("NEXTRUN", "nextrun")
SOURCE = Path(__file__).resolve().parents[2] / "src"

TORCH = """
import nextrun, sys
from torch.utils.tensorboard import SummaryWriter
writer = SummaryWriter(sys.argv[1])
lr = nextrun.setting("learning_rate", 0.5)
nextrun.log(writer, learning_rate=lr, optimizer="adam", batch_size=nextrun.setting("batch_size", 32))
nextrun.log(writer, max_steps=30)
for step in range(30):
    writer.add_scalar("train/loss", 1.0, step)
nextrun.log_end(writer)
writer.close()
"""

TENSORBOARDX = TORCH.replace("torch.utils.tensorboard", "tensorboardX")

TENSORFLOW = """
import nextrun, sys
import tensorflow as tf
writer = tf.summary.create_file_writer(sys.argv[1])
nextrun.log(writer, learning_rate=nextrun.setting("learning_rate", 0.5), optimizer="adam",
            batch_size=nextrun.setting("batch_size", 32), max_steps=30)
with writer.as_default():
    for step in range(30):
        tf.summary.scalar("train/loss", 1.0, step)
nextrun.log_end(writer)
writer.close()
"""

KERAS = """
import keras, numpy, sys
from nextrun.keras import NextrunCallback
x = numpy.ones((64, 3)); y = numpy.ones((64, 1))
model = keras.Sequential([keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.5), "mse")
board = keras.callbacks.TensorBoard(sys.argv[1])
model.fit(x, y, batch_size=32, epochs=15, verbose=0, callbacks=[board, NextrunCallback(sys.argv[1], batch_size=32)])
"""

LIGHTNING = """
import sys, torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from nextrun.lightning import NextrunCallback
class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(3, 1)
    def training_step(self, batch, _):
        loss = self.net(batch[0]).square().mean()
        self.log("train_loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.5)
data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(64, 3)), batch_size=32, shuffle=True)
logger = TensorBoardLogger(sys.argv[1], name="", version="")
trainer = Trainer(max_epochs=15, logger=logger, callbacks=[NextrunCallback()], log_every_n_steps=1,
                  accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False)
trainer.fit(Net(), data)
"""

TRAINER = """
import sys, torch
from transformers import Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback
from torch.utils.tensorboard import SummaryWriter
from nextrun.transformers import NextrunCallback
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(3, 1)
    def forward(self, x, labels):
        out = self.net(x)
        return {"loss": (out - labels).square().mean(), "logits": out}
rows = [{"x": torch.ones(3), "labels": torch.ones(1)} for _ in range(64)]
args = TrainingArguments(output_dir=sys.argv[1] + "/out", learning_rate=0.5, per_device_train_batch_size=32, max_steps=30,
                         logging_steps=1, report_to="none", save_strategy="no", use_cpu=True, optim="adamw_torch")
board = TensorBoardCallback(SummaryWriter(sys.argv[1]))
Trainer(model=Net(), args=args, train_dataset=rows, callbacks=[board, NextrunCallback()]).train()
"""


def train(program: str, **variables: str) -> Dict[str, Any]:
    """Runs a program, and returns what nextrun reads from its job, with the number of its steps."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "a"
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "CUDA_VISIBLE_DEVICES": "", **variables}
        environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        words = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program), str(run)]
        ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd=folder)
        if ended.returncode != 0:
            raise AssertionError(ended.stderr[-3000:])
        seen = subprocess.run([NEXTRUN, "diagnose", folder, "--format", "json"], capture_output=True, text=True, check=False)
        jobs = [json.loads(line) for line in seen.stdout.splitlines()]
        assert len(jobs) == 1, [job["run"] for job in jobs]
        job: Dict[str, Any] = jobs[0]
        points = subprocess.run([NEXTRUN, "scalars", folder], capture_output=True, text=True, check=True).stdout
        scalars = [json.loads(line) for line in points.splitlines()]
        # Where the loss is in a folder of the job, its tag stands behind that folder's name.
        loss = job["signals"].get("train_loss", "")
        job["steps"] = len([point for point in scalars if loss == f"{point['run']}/{point['tag']}".split("/", 1)[1]])
        return job


def changes(**overrides: Any) -> Dict[str, str]:
    return {"NEXTRUN_OVERRIDES": json.dumps(overrides), "NEXTRUN_SUGGESTION_ID": "s1"}


Test = TypeVar("Test", bound=Callable[..., Any])


def needs(*libraries: str) -> Callable[[Test], Test]:
    """Skips a test if a library is not installed: PyTorch and TensorFlow have separate environments."""
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    return unittest.skipIf(bool(missing), f"not installed here: {', '.join(missing)}")


class Frameworks(unittest.TestCase):
    def check(self, program: str, optimizer: str, steps: int) -> None:
        job = train(program)
        known = job["hyperparameters"]
        self.assertEqual((known["learning_rate"], known["optimizer"], known["batch_size"]), (0.5, optimizer, 32))
        self.assertEqual((known["max_steps"], job["not_logged"], job["experiment"]), (steps, [], False), job)

    @needs("torch", "tensorboard")
    def test_pytorch(self) -> None:
        self.check(TORCH, "adam", 30)
        job = train(TORCH, **changes(learning_rate=0.25, batch_size=4))
        self.assertEqual(job["hyperparameters"]["learning_rate"], 0.25)
        self.assertEqual((job["hyperparameters"]["batch_size"], job["experiment"]), (4, True))

    @needs("tensorboardX")
    def test_tensorboardx(self) -> None:
        self.check(TENSORBOARDX, "adam", 30)

    @needs("tensorflow")
    def test_tensorflow(self) -> None:
        self.check(TENSORFLOW, "adam", 30)
        self.assertTrue(train(TENSORFLOW, **changes(batch_size=4))["experiment"])

    @needs("keras")
    def test_keras(self) -> None:
        self.check(KERAS, "adam", 30)
        job = train(KERAS, **changes(learning_rate=0.25, max_steps=6))
        known = job["hyperparameters"]
        self.assertEqual((known["learning_rate"], known["max_steps"], job["steps"]), (0.25, 6, 3))

    @needs("lightning")
    def test_lightning(self) -> None:
        self.check(LIGHTNING, "adam", 30)
        job = train(LIGHTNING, **changes(learning_rate=0.25, max_steps=40, train_examples=1, gradient_clip=2.0))
        known = job["hyperparameters"]
        self.assertEqual((known["learning_rate"], known["max_steps"], known["gradient_clip"]), (0.25, 40, 2.0))
        self.assertEqual(job["steps"], 40)

    @needs("transformers", "torch")
    def test_transformers(self) -> None:
        self.check(TRAINER, "adamw", 30)
        job = train(TRAINER, **changes(learning_rate=0.25, max_steps=6, batch_size=4))
        known = job["hyperparameters"]
        self.assertEqual((known["learning_rate"], known["max_steps"], known["batch_size"], job["steps"]), (0.25, 6, 4, 6))


if __name__ == "__main__":
    unittest.main()
