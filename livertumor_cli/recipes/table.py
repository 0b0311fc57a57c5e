"""One TOML table read strictly: every key known, every value of the kind asked for, or a sentence.

Also the way back: a table as TOML text, which the standard library cannot write.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from livertumor_cli.errors import RecipeError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

Choice = TypeVar("Choice", bound=StrEnum)


class Table:
    """The values of one table, with the words for where they stand."""

    def __init__(
        self,
        values: Mapping[str, object],
        *,
        where: str,
        required: Iterable[str],
        optional: Iterable[str] = (),
    ) -> None:
        """Check the keys at once, so that a misspelled key is named before a missing one.

        Args:
            values: What `tomllib` returned for the table.
            where: File and table, as a user would say it.
            required: Keys that must be there.
            optional: Keys that may be there.

        Raises:
            RecipeError: If a key is unknown or missing.
        """
        self.where = where
        self._values = values
        needed = list(required)
        known = [*needed, *optional]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise self.fault(f"unknown key '{unknown[0]}'", hint=f"Known keys: {', '.join(known)}.")
        missing = [key for key in needed if key not in values]
        if missing:
            raise self.fault(f"the key '{missing[0]}' is missing")

    def fault(self, what: str, *, hint: str = "") -> RecipeError:
        """An error about this table, to be raised by the caller."""
        return RecipeError(f"{self.where}: {what}.", hint=hint)

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._values

    def text(self, key: str) -> str:
        """A text that is not blank."""
        value = self._values[key]
        if not isinstance(value, str) or not value.strip():
            raise self.fault(f"'{key}' must be a text, not {value!r}")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        return self._finite(key, self._values[key])

    def numbers(self, key: str, *, count: int | None = None) -> tuple[float, ...]:
        """A list of finite numbers, of the length asked for, or of any length above 0."""
        return tuple(self._finite(key, value) for value in self._list(key, count))

    def whole_number(self, key: str) -> int:
        """A whole number."""
        return self._whole(key, self._values[key])

    def whole_numbers(self, key: str, *, count: int) -> tuple[int, ...]:
        """A list of whole numbers."""
        return tuple(self._whole(key, value) for value in self._list(key, count))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self._list(key, None)
        if not all(isinstance(value, str) for value in values):
            raise self.fault(f"'{key}' must be a list of texts, not {values!r}")
        return tuple(str(value) for value in values)

    def choice(self, key: str, kind: type[Choice], *, default: Choice | None = None) -> Choice:
        """A word of a closed vocabulary; `default` stands for an absent key."""
        if default is not None and key not in self._values:
            return default
        value = self._values[key]
        words = [str(word) for word in kind]
        if value not in words:
            raise self.fault(f"'{key}' is {value!r}", hint=f"It can be: {', '.join(words)}.")
        return kind(str(value))

    def named_numbers(self, key: str) -> dict[str, float]:
        """A table of finite numbers; empty where the key is absent."""
        values = self.tables_of(key)
        return {name: self._finite(f"{key}.{name}", value) for name, value in values.items()}

    def tables_of(self, key: str) -> Mapping[str, object]:
        """The raw values of a table inside this one; empty where the key is absent."""
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            raise self.fault(f"'{key}' must be a table, not {value!r}")
        return value

    def raw(self, key: str) -> object:
        """The value as TOML gave it."""
        return self._values[key]

    def _list(self, key: str, count: int | None) -> list[object]:
        value = self._values[key]
        length = "one or more" if count is None else str(count)
        if not isinstance(value, list) or not value or (count and len(value) != count):
            raise self.fault(f"'{key}' must be a list of {length} values, not {value!r}")
        return value

    def _finite(self, key: str, value: object) -> float:
        # In Python True is a number; in a recipe it is a mistake.
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.fault(f"'{key}' must be a number, not {value!r}")
        if not math.isfinite(value):
            raise self.fault(f"'{key}' must be a finite number, not {value}")
        return float(value)

    def _whole(self, key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fault(f"'{key}' must be a whole number, not {value!r}")
        return value


def toml_lines(values: Mapping[str, object]) -> list[str]:
    """Lines `key = value` for texts, numbers and lists of them.

    Raises:
        TypeError: If a value is of another kind.
    """
    return [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in values.items()]


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_text(key)


def _toml_text(text: str) -> str:
    # JSON's escapes are TOML's, but for the delete sign, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_value(value: object) -> str:
    match value:
        case str():
            return _toml_text(value)
        case bool():
            raise TypeError(f"no place for {value!r} in a recipe")
        case int():
            return str(int(value))
        case float():
            # Through float: the repr of NumPy's float64, a subclass, is not a number's text.
            return repr(float(value))
        case tuple() | list():
            return f"[{', '.join(_toml_value(item) for item in value)}]"
        case _:
            raise TypeError(f"no place for {value!r} in a recipe")
