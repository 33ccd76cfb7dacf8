"""Settings: their schema, and how files and command lines become one."""
