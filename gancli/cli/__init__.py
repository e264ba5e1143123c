"""The command line: parses, calls the library, renders the result."""
