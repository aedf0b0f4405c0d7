"""Errors that a user can do something about: their message names the file, the field and the remedy."""


class UserError(Exception):
    """The base of every expected error. Programs show its message alone; other errors come with a traceback."""


class StorageError(UserError, OSError):
    """A folder, bucket or file that cannot be read or written."""
