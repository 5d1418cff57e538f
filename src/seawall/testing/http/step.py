"""
What a server does to one request or one connection, as a value.

Rules: a step is the same in Python, ``status(503, retry_after=1)``, and in a URL, ``503:1``, and each can be turned
into the other. Its text is ``name[:argument…]``, with percent-encoded arguments; commas separate the steps of a script.
The parts before a ``+`` send no answer, as in ``delay:0.3+reset:body``; if no part of a step does, a good answer
follows. A step that isn't valid is refused when it is made, not when it is due.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import inspect
import json
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import (
    Annotated,
    Any,
    Concatenate,
    Generic,
    Literal,
    NamedTuple,
    ParamSpec,
    get_args,
    get_origin,
    get_type_hints,
)
from urllib.parse import quote, unquote

__all__ = ["BadStep", "Between", "Fields", "Kind", "Level", "Registry", "Step", "Text", "Where", "step"]

Level = Literal["reply", "connection"]
Where = Literal["request", "start", "status", "headers", "body", "chunk"]
"""In the request's body, before the answer, or in the answer's status line, headers, body, or a chunk of its body."""

Text = Annotated[str, "any"]
"""Text that may have any characters, because it doesn't go into a header."""
Fields = Mapping[str, str] | None
"""Headers; in a URL as JSON."""


class Between(NamedTuple):
    """Bounds of a number, both allowed: ``Annotated[int, Between(200, 999)]``."""

    low: float
    high: float


ANY = Between(0, 1e10)  # 10 GB, or 300 years
PLAIN = '/ {}[]"'  # what a step's text keeps as it is, so that JSON in it can be read

P = ParamSpec("P")


class BadStep(ValueError):
    """A step that doesn't exist, or doesn't take these arguments; suggests similar ones."""


class Kind(Generic[P]):
    """
    All steps of one name: calling it makes a `Step`.

    Attributes:
        level: What it acts on: a request, or a connection from its first byte.
        protocols: The protocols that it exists for: "http/1.1", "h2".
        is_prefix: Whether another step may follow after a ``+``, because this one sends no answer. Its function returns
            whether to do the step that follows; if not, a good answer is sent.
        reads_body: Whether the request's body is read first.
        needs: The packages of the extra ``testing`` that it needs.
    """

    def __init__(
        self,
        run: Callable[Concatenate[Any, P], Awaitable[bool | None]],
        *,
        level: Level,
        protocols: tuple[str, ...],
        reads_body: bool,
        needs: tuple[str, ...],
    ) -> None:
        self.run = run
        self.name = run.__name__.rstrip("_")
        self.level = level
        self.protocols = protocols
        self.reads_body = reads_body
        self.needs = needs
        self.does = inspect.cleandoc(run.__doc__ or "").partition("\n")[0]
        hints = get_type_hints(run, include_extras=True)
        self.is_prefix = hints["return"] is bool
        self._parameters = list(inspect.signature(run).parameters.values())[1:]
        self._types = [hints[parameter.name] for parameter in self._parameters]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Step:
        return self._made(args, kwargs)

    def __repr__(self) -> str:
        return f"<step {self.form}>"

    @property
    def form(self) -> str:
        """How it is written in a URL: ``hang[:where]``."""
        begin = "" if self.name == "status" else self.name
        parts = [
            f":{parameter.name}" if parameter.default is parameter.empty else f"[:{parameter.name}]"
            for parameter in self._parameters
        ]
        return (begin + "".join(parts)).removeprefix(":")

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """The words that each argument may be, for arguments that are one of a few words."""
        return {
            parameter.name: get_args(kind)
            for parameter, kind in zip(self._parameters, self._types, strict=True)
            if get_origin(kind) is Literal
        }

    def parse(self, arguments: list[str]) -> Step:
        """The step with these *arguments* of a URL."""
        kinds = [*self._types, *[str] * len(arguments)]  # of too many, `_made` complains
        return self._made(tuple(map(self._parsed, kinds, arguments)), {})

    def _parsed(self, kind: Any, argument: str) -> object:
        if kind is not object and kind != Fields:
            return argument
        try:
            return json.loads(argument)
        except ValueError as error:
            raise BadStep(f"{self.name} takes {self.form}, with JSON, not {argument!r}: {error}") from error

    def text(self, values: tuple[Any, ...]) -> str:
        """The text with these *values* in a URL, without trailing ones that are defaults."""
        shown = list(values)
        for parameter in reversed(self._parameters[: len(shown)]):
            if parameter.default is parameter.empty or shown[-1] != parameter.default:
                break
            shown.pop()
        words = [quote(_shown(value), safe=PLAIN) for value in shown]
        return ":".join(words if self.name == "status" else [self.name, *words])

    def _made(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Step:
        for package in self.needs:
            if importlib.util.find_spec(package) is None:
                raise BadStep(f"{self.name} needs {package}: pip install 'seawall[testing]'")
        names = [parameter.name for parameter in self._parameters]
        excess = [*args[len(names) :], *(name for name in kwargs if name not in names[len(args) :])]
        if excess:
            raise BadStep(f"{self.name} takes {self.form}, not {excess[0]!r}")
        values = []
        for index, parameter in enumerate(self._parameters):
            value = args[index] if index < len(args) else kwargs.get(parameter.name, parameter.default)
            if value is parameter.empty:
                raise BadStep(f"{self.name}: {parameter.name} is missing; it takes {self.form}")
            values.append(self._checked(index, value))
        return Step(((self, tuple(values)),))

    def _checked(self, index: int, value: Any) -> Any:
        """*value*, converted to the type of the function's parameter; an object to its JSON, headers to pairs."""
        name, kind = self._parameters[index].name, self._types[index]
        if kind is object:
            return self._json(name, value)
        if kind == Fields:
            return self._pairs(name, value)
        if kind == Text:
            if not isinstance(value, str) or not re.fullmatch(r"[^\ud800-\udfff]*", value):
                raise BadStep(f"{self.name}: {name} must be text that UTF-8 can hold, not {value!r}")
            return value
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise BadStep(f"{self.name}: {name} must be one of {', '.join(get_args(kind))}, not {value!r}")
            return value
        if kind is str:
            text = f"{value:g}" if isinstance(value, float) else str(value)
            if not re.fullmatch(r"[^\r\n\u0100-\U0010ffff]*", text):
                raise BadStep(f"{self.name}: {name} must be text of ISO 8859-1 without line ends, not {value!r}")
            return text
        kind, (low, high) = get_args(kind) if get_origin(kind) is Annotated else (kind, ANY)
        try:
            number = math.nan if isinstance(value, bool) else kind(value)
            if isinstance(value, float) and number != value:
                number = math.nan  # there is no half request
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not low <= number <= high:
            what = "a whole number" if kind is int else "a number"
            raise BadStep(f"{self.name}: {name} must be {what} from {low:g} to {high:g}, not {value!r}")
        return number

    def _json(self, name: str, value: object) -> str:
        try:
            return json.dumps(value, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadStep(f"{self.name}: {name} must be what JSON can hold, not {value!r}: {error}") from error

    def _pairs(self, name: str, value: Any) -> tuple[tuple[str, str], ...] | None:
        pairs = tuple(value.items()) if isinstance(value, Mapping) else None if value is None else ((value, value),)
        for pair in pairs or ():
            for each, pattern in zip(pair, (r"[!#-\'*+.^-z|~\w-]+", r"[^\r\n\0\u0100-\U0010ffff]*"), strict=True):
                if not isinstance(each, str) or not re.fullmatch(pattern, each, re.ASCII):
                    raise BadStep(
                        f'{self.name}: {name} must map names of headers to text, as {{"etag": "1"}}: {value!r}'
                    )
        return pairs or None


def _shown(value: object) -> str:
    """The shortest text from which the value can be read back."""
    if isinstance(value, tuple):
        return json.dumps(dict(value), separators=(",", ":"))
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class Step:
    """One or more parts, done one after another; ``str(step)`` is its text."""

    parts: tuple[tuple[Kind[Any], tuple[Any, ...]], ...]

    def __add__(self, other: Step) -> Step:
        last = self.parts[-1][0]
        if not last.is_prefix:
            raise BadStep(f"{last.name} sends an answer, so nothing can follow it after a +")
        if other.level != self.level:
            raise BadStep(f"{other} is a step of a {other.level}, but {self} is one of a {self.level}")
        return Step(self.parts + other.parts)

    def __str__(self) -> str:
        return "+".join(kind.text(values) for kind, values in self.parts)

    @property
    def level(self) -> Level:
        return self.parts[0][0].level

    @property
    def reads_body(self) -> bool:
        return self.parts[-1][0].reads_body

    def runs_over(self, protocol: str) -> bool:
        return all(protocol in kind.protocols for kind, _ in self.parts)


def step(
    *,
    level: Level = "reply",
    protocols: tuple[str, ...] = ("http/1.1",),
    reads_body: bool = True,
    needs: tuple[str, ...] = (),
) -> Callable[[Callable[Concatenate[Any, P], Awaitable[bool | None]]], Kind[P]]:
    """Decorator: turns a function into a `Kind` of its name, without a final ``_``."""
    return functools.partial(Kind, level=level, protocols=protocols, reads_body=reads_body, needs=needs)


class Registry:
    """The kinds in *modules*, by name."""

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        found = (value for module in modules for value in vars(module).values() if isinstance(value, Kind))
        self._kinds: dict[str, Kind[Any]] = {kind.name: kind for kind in found}

    def __iter__(self) -> Iterator[Kind[Any]]:
        return iter(self._kinds.values())

    def parse(self, text: str, *, level: Level) -> tuple[Step, ...]:
        """
        The steps of a script.

        Raises:
            BadStep: No step is given, or one is not valid; says why, and which names are similar.
        """
        return tuple(self._one(each.strip(), level) for each in text.split(","))

    def _one(self, text: str, level: Level) -> Step:
        whole: Step | None = None
        for part in text.split("+"):
            name, *arguments = (unquote(word) for word in part.split(":"))
            if name.isdecimal():
                name, arguments = "status", [name, *arguments]
            step = self._kind(name, level).parse(arguments)
            whole = step if whole is None else whole + step
        assert whole is not None
        return whole

    def _kind(self, name: str, level: Level) -> Kind[Any]:
        kind = self._kinds.get(name)
        names = [each.name for each in self if each.level == level]
        if kind is not None and kind.level == level:
            return kind
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        other = "" if kind is None else f" (it is a step of a {kind.level}, not of a {level})"
        hint = f"; near: {', '.join(near)}" if near else ""
        raise BadStep(f"unknown step {name!r}{other}{hint}; all: {', '.join(names)}")
