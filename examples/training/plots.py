"""Training curves as one PNG."""

from __future__ import annotations

from pathlib import Path


def plot_curves(history: list[dict], evals: list[dict], title: str, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3, figsize=(12, 3.4), constrained_layout=True)
    fig.suptitle(title, fontsize=10)
    minutes = [row["minutes"] for row in history]

    axes[0].plot(minutes, [row["loss"] for row in history], lw=1, label="cells")
    axes[0].plot(minutes, [row["halt_loss"] for row in history], lw=1, label="halting")
    axes[0].set(title="training loss", xlabel="minutes", yscale="log")
    axes[0].legend(fontsize=8)

    axes[1].plot(minutes, [100 * row["cell"] for row in history], lw=0.7, alpha=0.6, label="cells, training")
    axes[1].plot(minutes, [100 * row["exact"] for row in history], lw=0.7, alpha=0.6, label="exact, training")
    for step in sorted({int(s) for row in evals for s in row["exact"]}):
        known = [row for row in evals if str(step) in row["exact"]]  # a recipe may be changed on the way
        xs = [row["minutes"] for row in known]
        ys = [100 * row["exact"][str(step)] for row in known]
        axes[1].plot(xs, ys, marker=".", label=f"exact, held out, {step} steps")
    if evals:
        axes[1].set_ylabel(evals[-1]["about"])
    axes[1].set(title="accuracy (%)", xlabel="minutes", ylim=(0, 101))
    axes[1].legend(fontsize=6)

    deep = [row for row in history if "depth" in row]
    axes[2].plot([row["minutes"] for row in deep], [row["depth"] for row in deep], lw=1)
    axes[2].set(title="supervision steps until halted (training)", xlabel="minutes", ylim=(0, None))
    for ax in axes:
        ax.grid(alpha=0.3)
    fig.savefig(path, dpi=110)
    plt.close(fig)
