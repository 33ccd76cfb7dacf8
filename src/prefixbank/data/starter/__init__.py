"""The starter suite: nine small English tasks, whose words are in `phrases/*.yaml`."""
