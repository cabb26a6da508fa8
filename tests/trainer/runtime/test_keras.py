"""Keras runs on TensorFlow, whatever else a process or its environment prefers."""

from __future__ import annotations

import os
import subprocess
import sys


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_another_backend_in_the_environment_is_left_to_others() -> None:
    code = (
        "import os; from geosim.trainer.runtime.keras import import_keras\n"
        "print(import_keras().config.backend(), os.environ['KERAS_BACKEND'])"
    )
    assert run(code, KERAS_BACKEND="jax") == "tensorflow jax"


def test_keras_on_another_backend_is_refused_in_one_line() -> None:
    code = """
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from geosim.trainer.errors import ModelError
from geosim.trainer.runtime.keras import import_keras
keras = sys.modules["keras"] = ModuleType("keras")
keras.__spec__ = ModuleSpec("keras", None)
keras.config = SimpleNamespace(backend=lambda: "jax")
try:
    import_keras()
except ModelError as error:
    print(error, "tensorflow" in sys.modules)
"""
    expected = "with the backend jax; set KERAS_BACKEND=tensorflow before the import False"
    assert run(code).endswith(expected)
