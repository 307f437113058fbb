"""Events that wait for what business code said is not there yet: found when they are due, and tried again."""
