"""The HTTP API, one router per subject. Each is made for one ``Service`` and the dependencies that guard it."""
