"""Makes the fixtures of ``small_networks`` available to all tests of serving."""

from small_networks import client, face_model, networks, settings, weights

__all__ = ["client", "face_model", "networks", "settings", "weights"]
