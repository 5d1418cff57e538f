"""However servers cut, change and misread ranges, what a download ends with is one version of the file."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.fetch.resume import Append, Complete, Fail, Kept, StartOver, decide, headers_for

HOURS = [f"Sat, 28 Nov 2026 {hour:02}:00:00 GMT" for hour in range(24)]
VERSIONS = st.lists(st.binary(min_size=4, max_size=9), min_size=1, max_size=3, unique=True)
WAYS = (
    "good", "ignores range", "ignores if-range", "200 with range", "shifted", "short", "multipart", "coded", "416",
    "without length", "503",
)  # fmt: skip
STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(WAYS), st.integers(0, 8), st.sampled_from([4, 2, 1, 0])), max_size=12
)


def answer(versions, number, way, skew, tag, asked):
    """Status, headers and body of a server that has this version of the file now, and this way to answer."""
    content = versions[number]
    validator = {"etag": f'"{number}"', "date": HOURS[number + 1]}
    if tag == "date":
        validator = {"last-modified": HOURS[number], "date": HOURS[number + 1]}
    elif tag == "weak":
        validator = {"etag": 'W/"same"', "last-modified": HOURS[0], "date": HOURS[1]}
    same = asked.get("If-Range") in (validator.get("etag"), validator.get("last-modified"))
    at = int(asked["Range"][6:-1]) if "Range" in asked and (same or way == "ignores if-range") else None
    if way == "503":
        return 503, validator, b"busy"
    if way == "coded":
        part = {} if at is None else {"content-range": f"bytes {at}-{at + 1}/{len(content)}"}
        return 200 if at is None else 206, validator | part | {"content-encoding": "gzip"}, b"??"
    if way == "416" or (at is not None and at >= len(content)):
        return 416, {"content-range": f"bytes */{len(content)}"} | validator, b"no"
    if at is None or way == "ignores range":
        length = {} if way == "without length" else {"content-length": str(len(content))}
        return 200, validator | length, content
    if way == "multipart":
        return 206, validator | {"content-type": "multipart/byteranges; boundary=x"}, b"--x"
    if way == "shifted":
        at = skew % len(content)
    stop = min(len(content), at + 1 + skew) if way == "short" else len(content)
    headers = validator | {"content-range": f"bytes {at}-{stop - 1}/{len(content)}"}
    return 200 if way == "200 with range" else 206, headers, content[at:stop]


@settings(max_examples=2000)
@given(VERSIONS, STEPS, st.sampled_from(["etag", "date", "weak"]))
def test_it_is_one_version(versions, steps, tag):
    """Cut anywhere; at every step the file and the way to answer may change. One download follows another."""
    kept, disk = Kept(), b""
    for number, way, skew, cut in steps:
        status, headers, body = answer(versions, number % len(versions), way, skew, tag, headers_for(kept))
        verdict = decide(kept, status, headers)
        match verdict:
            case Fail():
                continue
            case StartOver():
                kept, disk = Kept(), b""
                continue
            case Complete():
                assert disk in versions
                kept, disk = Kept(), b""
            case Append():
                assert verdict.at in (0, len(disk))
                came = body if cut == 0 else body[:-cut]
                disk = disk[: verdict.at] + came
                is_whole = came == body and verdict.version.length in (None, len(disk))
                kept = replace(verdict.version, size=len(disk))
                if is_whole and "content-encoding" not in headers:
                    assert disk in versions
                    kept, disk = Kept(), b""
