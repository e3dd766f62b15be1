import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifeiqa.runtime.sources.names import as_bytes, from_bytes, from_printable, printable

# Pieces that look like escapes come up often enough to be tried beside one another.
PIECES = st.sampled_from([b"\\", b"x", b"\\x", b"\\x5c", b"\\xe9", b"\xe9", b"\xc3\xa9", b"5c", b"\n", b"\xed\xa0\x80"])
NAMES = st.lists(PIECES | st.binary(max_size=4), max_size=8).map(b"".join).filter(lambda n: not {0, 47} & set(n))


@given(NAMES)
def test_every_name_is_text_that_leads_back_to_it(name: bytes) -> None:
    text = printable(os.fsdecode(name))
    text.encode()  # raises where there is a surrogate
    assert os.fsencode(from_printable(text)) == name


@given(NAMES, NAMES)
def test_different_names_stay_different(one: bytes, other: bytes) -> None:
    assert (printable(os.fsdecode(one)) == printable(os.fsdecode(other))) == (one == other)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"caf\xe9.png", "caf\\xe9.png"),
        (b"caf\\xe9.png", "caf\\x5cxe9.png"),
        ("caf\u00e9 \u732b.png".encode(), "caf\u00e9 \u732b.png"),
        (b"a\\b\\x.png", "a\\b\\x.png"),
        (b"two\nlines", "two\nlines"),
    ],
)
def test_only_what_is_no_text_or_looks_like_it_is_escaped(name: bytes, text: str) -> None:
    assert printable(os.fsdecode(name)) == text


def test_bytes_and_names_are_one_to_one() -> None:
    assert as_bytes(from_bytes(bytes(range(1, 256)))) == bytes(range(1, 256))
