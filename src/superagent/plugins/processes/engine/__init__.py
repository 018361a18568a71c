"""Processes as the kernel shows them; knows nothing of the platform."""
