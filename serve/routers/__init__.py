"""The HTTP API, one router per subject, each created for a ``Service`` and the dependencies that admit requests."""
