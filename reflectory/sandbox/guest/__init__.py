"""What runs inside a sandbox: standard library only, started as `guest.agent` from this folder alone, without the rest of the package."""
