"""One training step per network: batch in, losses out. No loop, no Ray."""

from jr2net.training.stages import TRAININGS, batches, build, save
from jr2net.training.training import NonFiniteLoss, Training

__all__ = ["TRAININGS", "NonFiniteLoss", "Training", "batches", "build", "save"]
