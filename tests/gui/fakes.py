"""Views without widgets, made from the protocols themselves, and a segmenter that answers when told to."""

from __future__ import annotations

import inspect
import typing
from unittest.mock import MagicMock

from ovsam_annotator.views import protocols


class FakeSignal:
    """A signal that calls its slots at once."""

    def __init__(self):
        self._slots = []

    def connect(self, slot, *_):
        self._slots.append(slot)

    def emit(self, *values):
        for slot in list(self._slots):
            slot(*values)


def fake_view(protocol):
    """An object with the protocol's verbs as mocks and its signals as `FakeSignal`; nothing else."""
    members = {}
    for name, member in inspect.getmembers(protocol):
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            annotation = member.fget.__annotations__["return"]
            members[name] = (
                FakeSignal() if annotation == "SignalInstance" else fake_view(getattr(protocols, annotation))
            )
        elif inspect.isfunction(member):
            members[name] = MagicMock(spec=member)
            members[name].return_value = (
                () if "Sequence" in str(typing.get_overloads(member)) else members[name].return_value
            )
    view = type(f"Fake{protocol.__name__}", (), {})()
    for name, member in members.items():
        setattr(view, name, member)
    return view


class NowRunner:
    """A runner that runs everything at once, on this thread."""

    def run(self, job, done=None, failed=None):
        try:
            value = job()
        except Exception as error:
            if failed is None:
                raise
            failed(error)
        else:
            if done is not None:
                done(value)


class SilentSegmenter:
    """Collects requests; tests answer them by hand."""

    def __init__(self):
        self.requests = []
        self.cancelled = []
        self.prefetched = []
        self.closed = False

    def submit(self, request):
        self.requests.append(request)

    def cancel(self, generation):
        self.cancelled.append(generation)

    def prefetch(self, wanted):
        self.prefetched = list(wanted)

    def close(self):
        self.closed = True
