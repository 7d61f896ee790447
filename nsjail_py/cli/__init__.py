"""The command: one file a verb, over the same interface that everybody has."""
