"""The script that writes one front from the other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from scripts import twin


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("import httpx, httpcore", "import httpx2, httpcore2"),
        ("# seawall.AsyncClient, seawall.Retry, _httpx", "# seawall.httpx2.AsyncClient, seawall.Retry, _httpx"),
        ("""a = b'httpx', rb"httpcore", 'httpx'""", """a = b'httpx', rb"httpcore", 'httpx2'"""),
        ("""a = f'httpx {httpx} {"httpx"} {b"x"!r}'""", """a = f'httpx2 {httpx2} {"httpx2"} {b"x"!r}'"""),
        ("a = '\u2028\x0c and more'\nb = b'httpx'\nc = httpx", "a = '\u2028\x0c and more'\nb = b'httpx'\nc = httpx2"),
        ("a = '''\nhttpx\n'''\nb = b'''\nhttpx\n'''", "a = '''\nhttpx2\n'''\nb = b'''\nhttpx\n'''"),
    ],
)
def test_names_are_renamed_but_in_bytes(source, wanted):
    """Bytes go over the wire; all else is text about the library, f-strings too."""
    assert twin.renamed(source) == wanted


def test_bytes_inside_an_f_string():
    """An error, because one Python would rename them and another one would not."""
    with pytest.raises(ValueError, match=r"^line 2: b'httpx' is inside an f-string"):
        twin.renamed("""a = 1\nb = f'{b"httpx".decode()}'""")


def test_folders_inside(monkeypatch, tmp_path, capsys):
    """They are written, checked and removed as the rest is."""
    folder, written = tmp_path / "_httpx", tmp_path / "httpx2"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.py").write_text("import httpx\n")
    (folder / "sub" / "b.py").write_text("from httpx import URL\n")
    monkeypatch.setattr(twin, "ROOT", tmp_path)
    monkeypatch.setattr(twin, "SOURCES", (folder,))

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["twin.py", *arguments])
        return twin.main()

    assert run() == 0
    assert (written / "sub" / "b.py").read_text().splitlines()[1:] == ["from httpx2 import URL"]
    assert run("--check") == 0
    (written / "sub" / "b.py").write_text("changed\n")
    (written / "sub" / "c.py").write_text("nobody's\n")
    assert run("--check") == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{Path('httpx2/sub') / name} is not what scripts/twin.py writes" for name in ("b.py", "c.py")
    ]
    assert run() == 0
    assert [path.name for path in sorted(written.rglob("*.py"))] == ["a.py", "b.py"]
