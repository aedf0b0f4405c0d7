"""One training step per network: batch in, losses out. No loop, no Ray."""

from jr2net.training.guard import Divergence, NonFiniteLoss
from jr2net.training.training import Training

__all__ = ["Divergence", "NonFiniteLoss", "Training"]
