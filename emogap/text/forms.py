"""What records in users' files must hold; it is checked when they are read, before anything is done with them.

A kind of record is a ``Form`` (a pydantic model); a value of another shape is checked by its type
(``dict[Label, list[Text]]``). What does not fit is an ``InputError`` of one line: where, which field, its value.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from emogap.emotions import INDEX, LABELS
from emogap.errors import InputError
from emogap.text.reading import quoted, read_table

MISSING = frozenset({"nan", "null", "none", "na", "n/a", "#n/a", "<na>"})
"""What programs write where a value is missing; it is never accepted as a name."""
_SAID = {
    "string_type": "not a text", "list_type": "not a list", "dict_type": "not an object", "model_type": "not an object",
    "model_attributes_type": "not an object", "tuple_type": "not a list", "float_type": "not a number",
    "finite_number": "not a number", "int_type": "not a whole number",
}  # fmt: skip


def folded(name: str) -> str:
    """A name without differences that are only of spelling: case, white space, composed letters."""
    return unicodedata.normalize("NFKC", " ".join(name.split())).casefold()


def one_spelling(names: Iterable[str]) -> dict[str, str]:
    """Each name → how it was spelt first."""
    first: dict[str, str] = {}
    return {name: first.setdefault(folded(name), name) for name in names}


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("empty")
    return text


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name:
        raise ValueError("empty; it must be a name")
    if folded(name) in MISSING:
        raise ValueError("what stands for a missing value; it must be a name")
    return name


def _label(text: str) -> str:
    if text not in INDEX:
        raise ValueError(f"not one of the 28 emotions; choose among {', '.join(LABELS)}")
    return text


def _whole(value: Any) -> Any:
    """A whole number, also one that a table or another program wrote as ``7.0`` or ``"7"``."""
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}(\.0*)?\s*", value):
        return int(value.strip().partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _number(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", value):
        return float(value)
    return value


Text = Annotated[str, AfterValidator(_not_blank)]
"""A text that is not blank, as it is."""
Name = Annotated[str, AfterValidator(_name)]
"""A name, white space around and in it folded; never what stands for a missing value."""
Label = Annotated[str, AfterValidator(_label)]
Whole = Annotated[int, BeforeValidator(_whole)]
Count = Annotated[int, BeforeValidator(_whole), Field(ge=0)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]


class Form(BaseModel):
    """A kind of record. Types are taken strictly: a number is no text, a text no list."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    needs: ClassVar[str] = ""
    """What such a record is, for messages."""

    @classmethod
    def columns(cls) -> list[str]:
        """The names of its fields in a file."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def required(cls) -> list[str]:
        return [field.alias or name for name, field in cls.model_fields.items() if field.is_required()]


F = TypeVar("F", bound=Form)


def read_forms(path: Path, form: type[F]) -> list[tuple[str, F]]:
    """The records of a file (``read_table``), each with where it stands. Raises ``MissingInput`` or ``InputError``."""
    table = read_table(path, form.columns(), form.required())
    return [(where, check(form, values, where, form.needs)) for where, values in table.rows]


@lru_cache
def _adapter(kind: Any) -> TypeAdapter:
    is_form = isinstance(kind, type) and issubclass(kind, BaseModel)
    return TypeAdapter(kind, config=None if is_form else ConfigDict(strict=True))


def check(kind: Any, value: Any, where: str, needs: str = "") -> Any:
    """The value as that type or form. Raises ``InputError``: where, what is wrong, its value, and what it needs."""
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise InputError(f"{where}{_said(error)}{needs and f'; {needs}'}") from None


def _said(error: ValidationError) -> str:
    """The first problem: ``: 'input' is 5, not a text``."""
    problem = error.errors(include_url=False)[0]
    place = problem["loc"][:-1] if problem["loc"][-1:] == ("[key]",) else problem["loc"]
    named = ", ".join(f"item {part + 1}" if isinstance(part, int) else f"'{part}'" for part in place)
    if problem["type"] == "missing":
        return f": no {named}"
    message = _SAID.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if problem["loc"][-1:] == ("[key]",):
        return f": {named} is {message}"
    return f": {named or 'it'} is {quoted(problem['input'])}, {message}"
