"""Training steps of all networks, without a training loop and without Ray."""

from jr2net.training.guard import Divergence, NonFiniteLoss
from jr2net.training.training import Training

__all__ = ["Divergence", "NonFiniteLoss", "Training"]
