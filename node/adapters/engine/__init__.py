"""Devices that make pictures: one child process each."""
