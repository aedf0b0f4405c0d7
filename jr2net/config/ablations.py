"""Settings of the networks that Table 4 of the paper compares RecAugNet with. Part of ``jr2net.config``.

What is not set here is as for the network that each is compared with: RecCopyNet is trained as RecAugNet, RecDataNet
and Baseline as RecNet.
"""

from __future__ import annotations

from pydantic import Field

from jr2net.config.networks import OptimizerConfig
from jr2net.settings import Section


class RecCopyNetConfig(Section):
    """RecAugNet with an ETNet that has seen no pair, trained on clips with RecNet's losses: does size explain it?"""

    optimizer: OptimizerConfig | None = Field(
        None,
        description="none: `recaugnet.optimizer`; a fair control takes as many steps as ETNet and RecAugNet together",
    )


class RecDataNetConfig(Section):
    """RecNet, trained also on the synthesised images, with landmarks detected in them: do the images explain it?"""

    pair_share: float = Field(0.5, gt=0, lt=1, description="fraction of every batch that is synthesised images")

    def pairs_in(self, batch_size: int) -> int:
        """Number of synthesised images in a batch."""
        return round(self.pair_share * batch_size)


class BaselineConfig(RecDataNetConfig):
    """RecDataNet with the activation loss on the images' coefficients too: the semi-supervised RecNet."""

    expression: float = Field(
        20.0, ge=0, description="weight of the activation loss on synthesised images, the mean over all of a batch"
    )
