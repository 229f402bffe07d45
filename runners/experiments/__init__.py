"""Groups: several whole drive→measure rounds at one start of the engine (docs/groups.md)."""
