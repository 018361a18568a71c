"""Processes of this machine: look at them, wait for them, end exactly one."""
