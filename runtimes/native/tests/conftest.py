"""What the tests of the native code share: the folder of their own modules, and the programs that answer them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
collect_ignore = ["aarch64"]  # which needs QEMU; `make test-native-aarch64` names it
# LiteRT's library, which a bundle for it opens, as its wheel has it.
_LITERT = find_spec("ai_edge_litert")
if _LITERT is not None and _LITERT.origin is not None:
    os.environ.setdefault("SAMCLIP_EDGE_LITERT", str(Path(_LITERT.origin).with_name("libLiteRt.so")))
BUILD = Path(os.environ.get("SAMCLIP_EDGE_NATIVE_BUILD", HERE.parents[2] / "build" / "native"))


@pytest.fixture(scope="module")
def ask() -> Iterator[Callable[..., Any]]:
    """Ask the native code about bundles: what, and its arguments (`probe_bundle.cpp`)."""
    with subprocess.Popen([BUILD / "probe_bundle"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:
        questions, answers = probe.stdin, probe.stdout
        assert questions is not None
        assert answers is not None

        def question(what: str, **given: Any) -> Any:
            asked = {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}
            questions.write(json.dumps({"ask": what, **asked}) + "\n")
            questions.flush()
            return json.loads(answers.readline())

        yield question
        questions.close()
        assert probe.wait() == 0  # also where a sanitizer found something
