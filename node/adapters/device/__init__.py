"""The graphics card beside its computations: how hot it is, what it is, what else uses it."""
