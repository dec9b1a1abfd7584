"""Our model against golden outputs of the official implementation."""
