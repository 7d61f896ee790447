"""The version: written here, read by the build (pyproject.toml) and by the command."""

__version__ = "0.1.0"
