"""The command line. Modules here import what is heavy inside their functions, so that ``--help`` is quick."""
