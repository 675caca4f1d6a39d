"""What goes wrong with settings."""

from zabpy.model import ZabpyError


class ConfigError(ZabpyError):
    """Root of what zabpy.config raises on purpose."""
