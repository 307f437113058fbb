"""Business code: what an event changes. Weir imports every module of this package."""
