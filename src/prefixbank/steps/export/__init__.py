"""Export: a bank and heads on it as a folder, for prefixbank itself and for other runtimes."""
