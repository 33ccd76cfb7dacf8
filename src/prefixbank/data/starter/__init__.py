"""The starter suite: nine small English tasks, generated from `phrases/*.yaml`."""
