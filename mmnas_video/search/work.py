"""Work: what a search method runs, for the plan of a run."""

from __future__ import annotations

from dataclasses import dataclass

#: Networks whose multiply-adds a plan knows; see :meth:`mmnas_video.plan.Networks.macs`.
NETWORKS = ('sampled', 'target', 'searched', 'smallest', 'largest', 'mixed')


@dataclass(frozen=True)
class Work:
    """Some passes of one kind of network.

    Attributes:
        network: one of :data:`NETWORKS`.
        count: passes of one rank, each of a batch.
        held_out: whether the batch is a held-out one.
        backward: whether a backward pass follows.
        after: epochs before which there are none.
        clips: of each held-out video.
        kept: held-out batches that all steps see, decoded once and kept; None where every step has others.
        every_set: whether each of several named datasets gives such batches in every step, or the step's own alone.
    """

    network: str
    count: float = 1.0
    held_out: bool = False
    backward: bool = True
    after: int = 0
    clips: int = 1
    kept: int | None = None
    every_set: bool = False

    def share(self, epochs: int) -> float:
        """Share of the run in which there are such passes."""
        return max(epochs - self.after, 0) / epochs
