"""The doors, as fixtures."""

from tests.doors import door, memory, socket_door, version

__all__ = ["door", "memory", "socket_door", "version"]
