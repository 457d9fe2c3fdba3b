from __future__ import annotations

from services import stubs


def test_the_generated_code_is_that_of_the_protos() -> None:
    assert stubs.stale(stubs.generate()) == []


def test_a_difference_is_named() -> None:
    generated = stubs.generate()
    generated["time_pb2.py"] += "# edited"
    del generated["query_service_pb2.pyi"]
    assert stubs.stale(generated) == ["query_service_pb2.pyi", "time_pb2.py"]
