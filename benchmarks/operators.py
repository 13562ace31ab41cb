"""Where the time of one graph goes: its seconds by operator, by ONNX Runtime's profiler."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sizes import Size, sides

_RUNS = 3  # of which the last one counts


def encoder_by_operator(bundle: Bundle, size: Size, threads: int) -> dict[str, float]:
    """Seconds of one run of an ONNX bundle's image encoder, all nodes of an operator together, the most first.

    The profiler itself slows the run. Integer products have operators of their own, so int8 is seen here too.
    """
    graph = bundle.graph("image_encoder", size)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # As `runtimes/onnxruntime.py` opens a graph, so that the same work is seen.
    options.enable_mem_reuse = options.enable_mem_pattern = False
    if bundle.manifest.precision != "int8":
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_profiling = True
    inputs = {"image": np.full((1, 3, *sides(size)), 128, np.float32)}
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = f"{folder}/run"
        path = bundle.folder / graph.files[0].path
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for _ in range(_RUNS):
            session.run(None, inputs)
        return by_operator(json.loads(Path(session.end_profiling()).read_text()))


def by_operator(events: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Seconds by operator of the last run in a profile of ONNX Runtime, the most first."""
    events = list(events)
    begun = max(event["ts"] for event in events if event["name"] == "model_run")
    seconds: dict[str, float] = defaultdict(float)
    for event in events:
        if event["name"].endswith("_kernel_time") and event["ts"] >= begun:
            seconds[event["args"]["op_name"]] += event["dur"] / 1e6
    return dict(sorted(seconds.items(), key=lambda each: -each[1]))
