"""What can be called: the protocol, a Python interpreter and a shell in a sandbox, local search, approval."""
