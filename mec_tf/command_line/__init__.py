"""The command line: parsing, messages, exit codes, Ctrl-C."""
