"""The house of the HTTP tests, for operations on identities asked through it."""

from tests.surfaces.http.conftest import agent, house

__all__ = ["agent", "house"]
