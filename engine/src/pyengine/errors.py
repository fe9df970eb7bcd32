"""What can go wrong, one class per layer; the faces map the classes to exit and HTTP statuses."""


class PyengineError(Exception):
    """A message that names the object, the step and the cause."""


class ConfigError(PyengineError):
    """A configuration file, an environment variable or an option cannot be used."""


class DatabaseError(PyengineError):
    """The database cannot be opened, read or written."""


class StorageError(PyengineError):
    """A layer, a blob or a container's root file system cannot be made, mounted or removed."""


class ArchiveError(StorageError):
    """An archive, a manifest or a layer is broken or not allowed."""


class RegistryError(PyengineError):
    """A registry does not answer, refuses, or sends something wrong.

    ``transient`` is true where the same request may succeed later, so that what was already
    downloaded is worth keeping.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class TrustError(PyengineError):
    """The signature policy does not allow an image, or a signature is not good."""


class MonitorError(PyengineError):
    """The container's monitor (pyconmon, conmon) cannot be started or failed."""


class RuntimeCallError(PyengineError):
    """The OCI runtime refused or failed."""


class CommandNotFoundError(RuntimeCallError):
    """The container's command does not exist in its root file system."""


class CommandNotExecutableError(RuntimeCallError):
    """The container's command exists and cannot be executed."""


class NotFoundError(PyengineError):
    """No image, container or volume has this name or id."""


class ConflictError(PyengineError):
    """The name is taken, or the object is in use or in the wrong state."""


class InUseError(ConflictError):
    """Something else still needs the object."""
