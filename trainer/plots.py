"""The plot of a training's losses, and the writer of all plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geosim.trainer.drawn import PNG_METADATA
from geosim.trainer.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_loss_curve(
    loss: Sequence[float],
    validation_loss: Sequence[float],
    best_epoch: int,
    path: Path,
    *,
    label: str = "cross-entropy",
) -> None:
    """Plot the losses over the epochs, mark the best epoch, and write the image to ``path``.

    ``label`` says what the loss is.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel=label, title="Training")
    if max(loss) > 0:  # a log scale needs a positive value
        axes.set_yscale("log")
    epochs = range(1, len(loss) + 1)
    axes.plot(epochs, loss, marker="o", markersize=3, label="training")
    if validation_loss:
        axes.plot(epochs, validation_loss, marker="s", markersize=3, label="validation")
    axes.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: epoch {best_epoch}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="upper right")
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG that is known as drawn by geosim."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata=PNG_METADATA)
