"""Annotations of others, held against the form in which they were published: the fields that we read of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, FailFast, Field, TypeAdapter, ValidationError

from samclip_edge.errors import InputError, one_line

Form = TypeVar("Form")
_LONGEST = 250  # bytes of a name; file systems take 255, with a suffix


def _inside(name: str) -> str:
    place = PurePosixPath(name)
    long = any(len(part.encode()) > _LONGEST for part in place.parts)
    if not place.name or place.is_absolute() or ".." in place.parts or "\0" in name or long:
        raise ValueError("is no name of a file in the data set")
    return name


FileName = Annotated[str, AfterValidator(_inside)]  # of a file in a folder of the data set, never outside it
Id = Annotated[int, Field(ge=0, lt=2**53)]  # pycocotools puts ids into arrays of float64
Rows = Annotated[list[Form], FailFast()]  # the first fault is told, and of a million no more are looked for


def read_form(path: Path, form: type[Form]) -> Form:
    """What a json of annotations holds, without what the form does not name.

    form: a TypedDict (that of `typing_extensions`, which Python 3.10 needs). Raises InputError where the file is in
    another form, with the first fault.
    """
    try:
        return TypeAdapter(form).validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)}); fetch it again") from None
    except ValidationError as error:
        why = told(*first_fault(error))
        raise InputError(f"{path}: is not as it was published ({why}); fetch it again") from None


def checked(form: type[Form], value: object) -> Form:
    """A value that was read, held against a form. Raises ValueError, in one line, where it has another."""
    try:
        return TypeAdapter(form).validate_python(value, strict=True)
    except ValidationError as error:
        raise ValueError(told(*first_fault(error))) from None


def each_once(path: Path, part: str, rows: Iterable[Mapping[str, Any]], *keys: str) -> None:
    """Raise InputError where two rows of a part of a file have the same under one of the keys."""
    for key in keys:
        ((most, count),) = Counter(each[key] for each in rows).most_common(1) or [("", 0)]
        if count > 1:
            raise InputError(f"{path}: has {count} {part} with the {key} {most}; fetch it again")


def first_fault(error: ValidationError) -> tuple[list[int | str], str]:
    """Where the first fault lies, as keys and places in lists, and what it is."""
    first = error.errors(include_url=False, include_input=False)[0]
    where: list[int | str] = []
    for part in first["loc"]:
        if "[" in str(part):  # a choice of several forms, in pydantic's words
            break
        where.append(part)
    return where, one_line(ValueError(first["msg"].removeprefix("Value error, ")))


def told(where: Sequence[int | str], why: str) -> str:
    """A fault in a line: `images.3.id: Field required`."""
    return f"{'.'.join(map(str, where))}: {why}" if where else why
