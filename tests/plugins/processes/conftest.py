"""The house of the HTTP tests, for processes looked at through it."""

from tests.surfaces.http.conftest import agent, house

__all__ = ["agent", "house"]
