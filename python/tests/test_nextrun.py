"""Tests that need no framework."""

from __future__ import annotations

import json
import os
import unittest
from typing import Any, Dict, List, Tuple
from unittest import mock

import nextrun


class Writer:
    """A SummaryWriter that records its calls."""

    def __init__(self) -> None:
        self.texts: List[Tuple[str, str]] = []

    def add_text(self, tag: str, text: str, step: int) -> None:
        self.texts.append((tag, text))

    def flush(self) -> None:
        pass

    def settings(self) -> Dict[str, Any]:
        found: Dict[str, Any] = json.loads([text for tag, text in self.texts if tag == "args"][-1])
        return found


class Logger:
    """A logger with a writer, like Lightning's."""

    def __init__(self) -> None:
        self.experiment = Writer()


def environment(**variables: str) -> Any:
    return mock.patch.dict(os.environ, variables)


class Overrides(unittest.TestCase):
    def setUp(self) -> None:
        for name in ("NEXTRUN_OVERRIDES", "NEXTRUN_SUGGESTION_ID"):
            os.environ.pop(name, None)

    def test_a_run_that_is_no_experiment_changes_nothing(self) -> None:
        self.assertEqual(nextrun.overrides(), {})
        self.assertEqual(nextrun.setting("learning_rate", 0.1), 0.1)
        self.assertFalse(nextrun.is_experiment())

    def test_an_experiment_has_its_changes_in_the_type_of_the_default(self) -> None:
        changes = {"learning_rate": 1, "batch_size": 8.0, "optimizer": "sgd", "batch_norm": False, "train_examples": None}
        with environment(NEXTRUN_OVERRIDES=json.dumps(changes), NEXTRUN_SUGGESTION_ID="s1"):
            found = [
                nextrun.setting("learning_rate", 0.1),
                nextrun.setting("batch_size", 32),
                nextrun.setting("optimizer", "adam"),
                nextrun.setting("batch_norm", True),
                nextrun.setting("train_examples", 512),
                nextrun.setting("seed", 3),
            ]
            self.assertEqual(found, [1.0, 8, "sgd", False, 512, 3])
            self.assertEqual([type(value) for value in found[:2]], [float, int])
            self.assertEqual((nextrun.suggestion_id(), nextrun.is_experiment()), ("s1", True))

    def test_an_experiment_has_a_folder_of_its_own(self) -> None:
        os.environ.pop("NEXTRUN_LOG_DIR", None)
        self.assertEqual(nextrun.log_dir("runs/a"), "runs/a")
        with environment(NEXTRUN_LOG_DIR="/runs/nextrun/a/01-x"):
            self.assertEqual(nextrun.log_dir("runs/a"), "/runs/nextrun/a/01-x")

    def test_changes_that_cannot_be_read_end_the_run(self) -> None:
        for text in ("{", "[1]", "3"):
            with environment(NEXTRUN_OVERRIDES=text), self.assertRaises(ValueError):
                nextrun.overrides()


class Log(unittest.TestCase):
    def setUp(self) -> None:
        os.environ.pop("NEXTRUN_SUGGESTION_ID", None)

    def test_settings_are_one_text_and_a_later_call_adds_to_it(self) -> None:
        writer = Writer()
        nextrun.log(writer, learning_rate=0.1, optimizer=dict, loss=float("nan"))
        nextrun.log(writer, batch_size=8)
        expected = {"learning_rate": 0.1, "optimizer": "dict", "loss": "nan", "batch_size": 8}
        self.assertEqual(writer.settings(), expected)

    def test_a_logger_stands_for_its_writer(self) -> None:
        logger = Logger()
        nextrun.log(logger, seed=1)
        self.assertEqual(logger.experiment.settings(), {"seed": 1})

    def test_an_experiment_says_which_one_it_is(self) -> None:
        writer = Writer()
        with environment(NEXTRUN_SUGGESTION_ID="s1"):
            nextrun.log(writer, seed=1)
        self.assertIn(("NEXTRUN_SUGGESTION_ID", "s1"), writer.texts)

    def test_what_writes_no_summaries_is_refused(self) -> None:
        with self.assertRaises(TypeError):
            nextrun.log(object(), seed=1)


if __name__ == "__main__":
    unittest.main()
