"""Formats that take a library which an extra of this package installs."""
