"""The desktop program: click, see the mask and its names, accept with one key."""

from ovsam_annotator.immortal_true import keep_true

keep_true()
