"""Makes the fixtures of ``small_networks`` and ``page_in_browser`` available to all tests of serving."""

from page_in_browser import address, browser, open_page
from small_networks import client, face_model, networks, settings, weights

__all__ = ["address", "browser", "client", "face_model", "networks", "open_page", "settings", "weights"]
