"""Names that somebody else has planted something under, in a folder that he can write to, too."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from seawall.fetch.folder import Folder
from seawall.fetch.output import Output
from seawall.fetch.page import Page
from seawall.fetch.parcel import Parcel, Parcels
from seawall.fetch.part import Part
from seawall.fetch.resume import Kept
from seawall.fetch.rows import Rows
from seawall.fetch.target import Target, target

from .test_fetch_journal import JOB, failed, keep, page

URL = "http://a.test/file"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file that a link in the folder of the tests leads to."""
    path = tmp_path / "mine"
    path.write_bytes(b"precious")
    (tmp_path / "folder").mkdir()
    return path


def plant(link: Path, kind: str, mine: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    {"link": link.symlink_to, "hard link": link.hardlink_to, "pipe": lambda _: os.mkfifo(link)}[kind](mine)


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
def test_a_part(mine, tmp_path, kind):
    """It is refused with its name, and what a link leads to is as it was."""
    link = tmp_path / "folder" / "file.part"
    plant(link, kind, mine)
    with pytest.raises(OSError, match="delete it") as caught:
        Part(tmp_path / "folder" / "file")
    assert caught.value.filename == str(link)
    assert mine.read_bytes() == b"precious"


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
@pytest.mark.parametrize("name", ["file.part.json", "file.part.json.new"])
def test_what_describes_a_part(mine, tmp_path, kind, name):
    """A link isn't read, and a file is written in the place of whatever is there."""
    mine.write_text(f'{{"url": "{sha256(URL.encode()).hexdigest()}", "validator": "\\"v0\\"", "length": 8}}')
    said = mine.read_bytes()
    folder = tmp_path / "folder"
    plant(folder / name, kind, mine)
    part = Part(folder / "file")
    assert part.kept(URL) == (Kept(0, '"v0"', 8) if (kind, name) == ("hard link", "file.part.json") else Kept())
    part.begin(URL, Kept(0, '"v1"', 4), 0)
    part.write(b"data")
    part.close()
    assert mine.read_bytes() == said
    assert Part(folder / "file").kept(URL) == Kept(4, '"v1"', 4)


def use(out: Path) -> None:
    """A job's first run, and the one that fetches again what failed."""
    for is_again in (False, True):
        output = Output.open(out, JOB, now=lambda: 7.0, is_failed_again=is_again)
        try:
            pages: list[Page] = [] if is_again else [page(URL), failed("http://a.test/no")]
            keep(output.journal, output.sink, *pages)
        finally:
            output.close()


KEY = page(URL).key.hex()


def test_a_description_without_end(tmp_path):
    """It isn't read to its end, because it may be a file of terabytes that takes no place on the disk."""
    (tmp_path / "file.part").write_bytes(b"data")
    said = f'{{"url": "{sha256(URL.encode()).hexdigest()}", "validator": "\\"v0\\"", "length": 8}}'
    for spaces, expected in [(1000, Kept(4, '"v0"', 8)), (2**20, Kept())]:
        (tmp_path / "file.part.json").write_text(" " * spaces + said)
        part = Part(tmp_path / "file")
        assert part.kept(URL) == expected
        part.close()


@pytest.mark.parametrize(
    ("out", "name"),
    [
        ("out.jsonl", "out.jsonl"),
        ("out.jsonl", "out.jsonl.seawall.sqlite"),
        ("out.jsonl", "out.jsonl.seawall.sqlite-lock"),
        ("out", "out/index.jsonl"),
        ("out", "out/.seawall.sqlite-lock"),
    ],
)
@pytest.mark.parametrize("leads", ["to a file", "nowhere"])
def test_an_output(mine, tmp_path, out, name, leads, monkeypatch):
    """It is refused, and nothing is written where the link leads."""
    monkeypatch.setattr("seawall.fetch.output._check_new", lambda *_, is_file: None)  # planted right after it
    there = mine if leads == "to a file" else tmp_path / "new"
    if leads == "to a file" and name == out:
        mine.write_bytes(b"")
    before = mine.read_bytes()
    plant(tmp_path / "folder" / name, "link", there)
    with pytest.raises(OSError, match="symbolic link") as caught:
        use(tmp_path / "folder" / out)
    assert caught.value.filename == str(tmp_path / "folder" / name)
    assert mine.read_bytes() == before
    assert not (tmp_path / "new").exists()


def test_a_link_that_leads_nowhere_is_no_new_output(tmp_path):
    """It is taken for an output of somebody else's."""
    (tmp_path / "out.jsonl").symlink_to(tmp_path / "new")
    with pytest.raises(Exception, match="exists and has no journal"):
        use(tmp_path / "out.jsonl")


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
def test_the_file_that_rows_are_written_to_anew(mine, tmp_path, kind):
    """What stands there is replaced."""
    plant(tmp_path / "out.jsonl.tmp", kind, mine)
    use(tmp_path / "out.jsonl")
    assert mine.read_bytes() == b"precious"
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 1


@pytest.mark.parametrize("name", [".unsettled", KEY[:2]])
def test_folders(mine, tmp_path, name, monkeypatch):
    """Nothing is written through a link to a folder."""
    monkeypatch.setattr("seawall.fetch.output._check_new", lambda *_, is_file: None)
    (tmp_path / "elsewhere").mkdir()
    plant(tmp_path / "out" / name, "link", tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        use(tmp_path / "out")
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
def test_a_body(mine, tmp_path, kind):
    """What stands under its name is replaced."""
    output = Output.open(tmp_path / "out", JOB, now=lambda: 7.0)
    plant(tmp_path / "out" / ".unsettled" / f"{KEY}.html", kind, mine)
    keep(output.journal, output.sink, page(URL))
    output.close()
    assert mine.read_bytes() == b"precious"
    assert (tmp_path / "out" / KEY[:2] / f"{KEY}.html").read_bytes() == b"hi"


def test_parcels(tmp_path):
    """Nothing is sent through a link to a folder."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "parcels").symlink_to(tmp_path / "elsewhere")
    entry = target(URL)
    assert isinstance(entry, Target)
    with pytest.raises(OSError, match="symbolic link"):
        Parcels(tmp_path / "parcels").put(Parcel.of(0, [entry]))
    assert os.listdir(tmp_path / "elsewhere") == []


def test_rows_under_another_name(mine, tmp_path):
    """They aren't cut off, because the other name may be that of a file which isn't the job's."""
    rows = tmp_path / "folder" / "rows.jsonl"
    plant(rows, "hard link", mine)
    with pytest.raises(OSError, match="another name") as caught:
        Rows(rows).recover(0, lambda _: False)
    assert caught.value.filename == str(rows)
    assert mine.read_bytes() == b"precious"


def test_what_a_worker_did_not_write(mine, tmp_path):
    """A file of another name stays where it is, because .. at its beginning would put it beside the output."""
    done = tmp_path / "done" / ".unsettled"
    done.mkdir(parents=True)
    (done / "..file").write_bytes(b"")
    (tmp_path / "folder" / "out").mkdir()
    Folder(tmp_path / "folder" / "out").adopt(tmp_path / "done")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["done", "done/.unsettled"])
def test_a_link_in_the_place_of_what_a_worker_did(mine, tmp_path, name):
    """The files that it leads to are not taken for pages."""
    theirs = tmp_path / "theirs"
    held = theirs / (".unsettled" if name == "done" else "") / f"{'ab' * 16}.html"
    held.parent.mkdir(parents=True)
    held.write_bytes(b"")
    link = tmp_path / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(theirs)
    with pytest.raises(OSError, match="symbolic link"):
        Folder(tmp_path / "folder").adopt(tmp_path / "done")
    assert held.exists()
