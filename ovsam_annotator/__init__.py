"""The desktop program: click, see the mask and its names, accept with one key."""
