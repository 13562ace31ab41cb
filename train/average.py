"""Wise-FT (arXiv 2109.01903), the control of Appendix D: averages the weights of two checkpoints and measures them.

Alpha 0 gives the first checkpoint, which has SAM's backbone. Alpha 1 gives the second, into which CLIP was distilled
without rehearsal.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from samclip_edge.bundle.sizes import in_order
from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel
from samclip_edge.progress import Progress, silent
from samclip_edge.train.calibrate import calibrate
from samclip_edge.train.data.sources import Source
from samclip_edge.train.measure import box_iou, top1
from samclip_edge.train.recipe import Batch, Data, Scenes

HELD_OUT = Data(scenes=Scenes(first=0, count=400))  # the first of those that `tiny.yaml` holds out


class Point(NamedTuple):
    """What was measured at one alpha."""

    alpha: float
    top1: float  # of 80 names, on scenes of one thing
    box_iou: float  # mean IoU of box-prompted masks


def averaged(start: MergedModel, tuned: MergedModel, alpha: float) -> MergedModel:
    """A model with weights (1 - alpha) * start + alpha * tuned. Raises InputError when their specs differ."""
    if start.spec != tuned.spec:
        raise InputError("average: the two checkpoints have different model specs; name two of one run")
    model, a, b = MergedModel(start.spec), start.state_dict(), tuned.state_dict()
    between = {k: torch.lerp(a[k], b[k], alpha) if a[k].is_floating_point() else b[k] for k in a}
    model.load_state_dict(between)
    return model.eval()


def save_average(start: Path, tuned: Path, alpha: float, output: Path) -> None:
    """Write the average of two checkpoints at one alpha. Chances of names, if the second has any, are measured anew
    where they are those of rendered scenes; else an export does that."""
    (a, first), (b, origin) = checkpoint.load(start), checkpoint.load(tuned)
    model, calibrated = averaged(a, b, alpha), origin.calibrated if origin.rendered else None
    if calibrated:
        with tempfile.TemporaryDirectory() as cache:
            calibrated = calibrate(model, Source(HELD_OUT, 0, True, Path(cache)))
    note = f"{1 - alpha:g} of {start.name} and {alpha:g} of {tuned.name}"
    both = {
        "weights": tuple(dict.fromkeys([*first.weights, *origin.weights])),
        "trained_at": tuple(sorted({*(first.trained_at or ()), *(origin.trained_at or ())}, key=in_order)) or None,
    }
    checkpoint.save(model, output, origin.model_copy(update={**both, "note": note, "calibrated": calibrated}))


def curves(start: Path, tuned: Path, points: int, progress: Progress = silent) -> list[Point]:
    """Measure top-1 and box IoU on held-out rendered scenes, at `points` alphas spaced evenly from 0 to 1."""
    a, b = checkpoint.load(start)[0], checkpoint.load(tuned)[0]
    with tempfile.TemporaryDirectory() as cache:
        held_out = Source(HELD_OUT, 0, True, Path(cache))
        shape = Batch(size=a.spec.squares[-1], images=1)
        found = []
        for alpha in progress([float(alpha) for alpha in np.linspace(0, 1, points)], "averaging"):
            model = averaged(a, b, alpha)
            found.append(Point(alpha, top1(model, held_out), box_iou(model, shape, held_out)))
    return found


def draw(found: Sequence[Point], picture: Path) -> None:
    """Draw top-1 and box IoU over alpha side by side, as in Fig. 8. Raises InputError when it cannot be written."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    alphas = [point.alpha for point in found]
    for axis, values, title in (
        (axes[0], [point.top1 for point in found], "zero-shot top-1 of 80 names"),
        (axes[1], [point.box_iou for point in found], "mean IoU of box-prompted masks"),
    ):
        axis.plot(alphas, values, marker="o", color="#1f6feb")
        axis.set(title=title, xlabel="alpha (0: SAM's weights, 1: distilled without rehearsal)", ylim=(0, 1))
        axis.grid(alpha=0.3)
    try:
        figure.savefig(picture, dpi=120)
    except OSError as error:
        raise InputError(f"-o {picture}: cannot be written ({error.strerror}); name another file") from None
    finally:
        pyplot.close(figure)
