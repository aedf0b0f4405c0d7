"""One training step per network: batch in, losses out. No loop, no Ray."""

from jr2net.training.guard import Divergence, NonFiniteLoss
from jr2net.training.stages import TRAININGS, batches, build, save
from jr2net.training.training import Training

__all__ = ["TRAININGS", "Divergence", "NonFiniteLoss", "Training", "batches", "build", "save"]
