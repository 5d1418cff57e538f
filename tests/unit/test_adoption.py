"""Errors of ours that are an HTTP library's too: built, one class for each pair, picklable."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap

import httpx
import httpx2
import pytest

import seawall
import seawall._httpx.errors
import seawall.httpx2.errors
from seawall import errors
from seawall.core.adoption import adopted, both

ADOPT = {httpx: seawall._httpx.errors.as_httpx, httpx2: seawall.httpx2.errors.as_httpx}
LIBRARIES = pytest.mark.parametrize("library", ADOPT, ids=lambda library: library.__name__)
KINDS = [getattr(errors, name) for name in errors.__all__]


def made(kind: type[errors.SeawallError]) -> errors.SeawallError:
    facts = {"reason": errors.DialError("refused")} if kind is errors.PartlySent else {}
    return kind("what", **facts)


@LIBRARIES
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_class_of_both(library, kind):
    """Every error is the library's, under our name and in our module, and the class is the same at each call."""
    one, two = (ADOPT[library](made(kind), None) for _ in range(2))
    (other,) = ADOPT.keys() - {library}
    assert type(one) is type(two)
    assert isinstance(one, kind)
    assert isinstance(one, library.TransportError | library.HTTPStatusError)
    assert not isinstance(one, other.HTTPError | other.StreamError)
    assert (type(one).__name__, type(one).__module__) == (kind.__name__, "seawall.errors")
    assert type(one).__doc__ == kind.__doc__


@LIBRARIES
def test_spent_body_is_what_httpx_raises(library):
    """Both a StreamConsumed and an HTTPError."""
    error = ADOPT[library](errors.BodySpent("spent"), None)
    assert isinstance(error, library.StreamConsumed)
    assert isinstance(error, library.LocalProtocolError)


def test_class_is_one_for_each_pair():
    """Whichever front asks, as where one library stands in for the other."""
    assert both(errors.DialError, httpx.ConnectError) is both(errors.DialError, httpx.ConnectError)
    assert both(errors.DialError, httpx.ConnectError) is not both(errors.DialError, httpx2.ConnectError)


def test_error_itself_stays_as_it_is():
    """Two callers of one error each get their own, with all that it has; what is added to one isn't added to others."""
    request = httpx.Request("GET", "http://a/")
    cause = OSError("refused")
    try:
        try:
            raise ValueError("before")
        except ValueError:
            raise errors.DialError("what", is_shortage=True) from cause
    except errors.DialError as caught:
        error = caught
    error.add_note("a note")
    mine = seawall._httpx.errors.as_httpx(error, request)
    theirs = seawall.httpx2.errors.as_httpx(error, None)
    mine.add_note("mine")
    mine.origin = seawall.Origin("http", "a", 80)
    assert type(error) is errors.DialError
    assert isinstance(mine, httpx.ConnectError)
    assert isinstance(theirs, httpx2.ConnectError)
    assert (mine.request, mine.__notes__) == (request, ["a note", "mine"])
    assert (error.__notes__, theirs.__notes__, theirs.origin) == (["a note"], ["a note"], None)
    for each in (mine, theirs):
        assert (each.args, each.is_shortage) == (("what",), True)
        assert each.__cause__ is cause
        assert each.__context__ is error.__context__
        assert each.__suppress_context__
        assert each.__traceback__ is error.__traceback__


def test_context_that_shows_goes_on_showing():
    """An error without a cause, that was raised while another was handled."""
    try:
        try:
            raise ValueError("before")
        except ValueError:
            raise errors.DialError("what")  # noqa: B904
    except errors.DialError as error:
        made = adopted(error, httpx.ConnectError)
        assert isinstance(made.__context__, ValueError)
        assert not made.__suppress_context__


def test_no_constructor_runs():
    """A user's class may want any arguments."""

    class Quota(seawall.Rejected):
        def __init__(self, used: int, limit: int) -> None:
            super().__init__(f"{used} of {limit}", used=used)

    error = seawall._httpx.errors.as_httpx(Quota(3, 3), None)
    assert isinstance(error, Quota)
    assert isinstance(error, httpx.PoolTimeout)
    assert (str(error), error.used) == ("3 of 3", 3)


def test_error_of_this_library_is_not_made_twice():
    """It keeps its request, and gets one only if it has none."""
    one, two = httpx.Request("GET", "http://one/"), httpx.Request("GET", "http://two/")
    as_httpx = seawall._httpx.errors.as_httpx
    error = as_httpx(errors.DialError("what"), None)
    assert as_httpx(error, one) is error
    assert as_httpx(error, two) is error
    assert error.request is one


def test_error_of_the_other_library_passes():
    """As httpx lets through what an application raises; it means nothing for the attempt, so it isn't retried."""
    request = httpx.Request("GET", "http://a/")
    error = seawall.httpx2.errors.as_httpx(errors.ReadTimeout("what"), None)
    assert seawall._httpx.errors.as_httpx(error, request) is error
    assert error._request is None
    assert seawall._httpx.errors.failure(error, None, is_trusted=True) is None


def test_class_of_partly_sent_is_that_of_its_reason():
    """The reason's kind counts, whichever library it is of."""
    reason = seawall.httpx2.errors.as_httpx(errors.DialTimeout("what"), None)
    error = seawall._httpx.errors.as_httpx(errors.PartlySent("part", reason=reason), None)
    assert isinstance(error, httpx.ConnectTimeout)
    assert not isinstance(error, httpx2.HTTPError)
    assert error.reason is reason


def full(library) -> errors.SeawallError:
    """An error with all that an error can have."""
    error = ADOPT[library](
        errors.ResolverFailure("what", origin=seawall.Origin("http", "a", 80), attempts=seawall.History(), elapsed=1.5),
        library.Request("GET", "http://a/?q"),
    )
    error.attempts.note = "why"
    error.add_note("a note")
    return error


COPIES = {
    "oldest pickle": lambda error: pickle.loads(pickle.dumps(error, 2)),
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@LIBRARIES
@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
def test_copies(library, again):
    """By pickle or copy: the same class, with all facts and a list of notes of its own."""
    error = full(library)
    made = again(error)
    assert made is not error
    assert type(made) is type(error)
    assert (made.args, made.origin, made.elapsed) == (error.args, error.origin, 1.5)
    assert (type(made.attempts), made.attempts.note) == (seawall.History, "why")
    assert (made.request.method, made.request.url) == ("GET", "http://a/?q")
    made.add_note("another")
    assert (made.__notes__, error.__notes__) == (["a note", "another"], ["a note"])


def test_copy_of_a_partly_sent():
    """With its reason, which is an error of ours too."""
    made = pickle.loads(pickle.dumps(ADOPT[httpx2](errors.PartlySent("part", reason=full(httpx2)), None)))
    assert isinstance(made, httpx2.ConnectError)
    assert isinstance(made.reason, httpx2.ConnectError)
    assert made.reason.__notes__ == ["a note"]


def run(code: str, *arguments: str) -> None:
    """In a process of its own, where nothing is imported yet."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@LIBRARIES
def test_pickle_in_a_process_that_has_imported_nothing(library):
    """Also of a front that it never imports."""
    run(
        """
        import pickle, sys
        error = pickle.loads(bytes.fromhex(sys.argv[1]))
        library = sys.modules[sys.argv[2]]
        import seawall
        assert isinstance(error, library.ConnectError)
        assert isinstance(error, seawall.ResolveError)
        assert (error.attempts.note, error.__notes__, error.origin.host) == ("why", ["a note"], "a")
        assert error.request.url == "http://a/?q"
        """,
        pickle.dumps(full(library)).hex(),
        library.__name__,
    )


def test_one_library_in_place_of_the_other():
    """Under its alias both fronts have the same classes, and neither passes the other's errors by."""
    run(
        """
        import httpx2
        httpx2.alias_httpx()
        import copy, httpx, pickle
        import seawall, seawall.httpx2
        from seawall import errors
        from seawall._httpx.errors import as_httpx as one
        from seawall.httpx2.errors import as_httpx as two
        assert httpx.HTTPError is httpx2.HTTPError
        for kind in (getattr(errors, name) for name in errors.__all__ if name != "PartlySent"):
            error = one(kind("what"), None)
            assert type(error) is type(two(kind("what"), None)), kind
            assert two(error, None) is error
            assert type(pickle.loads(pickle.dumps(error))) is type(copy.copy(error)) is type(error)
        """
    )


class OfAnApplication(seawall.Unsent):
    """An application's own, whose `__new__` takes an argument of another kind, and whose text needs an attribute."""

    def __new__(cls, *, code: int = 0) -> OfAnApplication:
        return super().__new__(cls, code)

    def __init__(self, *, code: int = 0) -> None:
        super().__init__("used up")
        self.code = code

    def __str__(self) -> str:
        return f"quota {self.code}"


@LIBRARIES
def test_partly_sent_never_says_that_nothing_was_sent(library):
    """Whatever its reason is: an application's own error, or a bare Unsent."""
    for reason in (OfAnApplication(code=7), seawall.Unsent("nothing")):
        adopted_reason = ADOPT[library](reason, None)
        assert isinstance(adopted_reason, type(reason))
        whole = ADOPT[library](errors.PartlySent("partly", reason=adopted_reason), None)
        assert isinstance(whole, library.TransportError)
        assert not isinstance(whole, seawall.Unsent)
        assert str(pickle.loads(pickle.dumps(whole))) == str(whole) == "partly"
    assert str(ADOPT[library](OfAnApplication(code=7), None)) == "quota 7"
