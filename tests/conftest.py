"""One Hypothesis profile for all properties, chosen before a test module is read."""

import os

from hypothesis import settings

# No deadline for one example: machines that run tests are shared, and a pause of theirs says nothing about us.
settings.register_profile("here", deadline=None, print_blob=True)
# Under CI the examples follow from the test alone, so that a red run can be repeated; new ones are searched for here.
settings.register_profile("ci", settings.get_profile("here"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")
