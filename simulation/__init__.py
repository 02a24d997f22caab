"""The whole system in one process and in virtual time, equal for equal seeds."""
