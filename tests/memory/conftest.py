from __future__ import annotations

import itertools

import pytest

from reflectory.records import Origin, Record

_numbers = itertools.count()


def make_record(
    body="the mug is in cabinet 3", *, id="", source="e1", origin="own_reasoning", kind="lesson", namespace=("household",), **fields
):
    return Record(id=id, namespace=namespace, kind=kind, body=body, origin=Origin(kind=origin, source=source), **fields)


@pytest.fixture
def rec():
    return make_record
