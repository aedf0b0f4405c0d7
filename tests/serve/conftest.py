"""The fixtures of ``small_networks``, for every test of serving."""

from small_networks import client, face_model, networks, settings, weights

__all__ = ["client", "face_model", "networks", "settings", "weights"]
