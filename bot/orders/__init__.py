"""Looks up orders of verified shoppers."""
