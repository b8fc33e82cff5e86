"""Keeps the log and the queue in a SQL database."""
