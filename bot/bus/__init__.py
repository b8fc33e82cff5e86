"""Tells listeners that the log has grown."""
