"""Settings: frozen dataclasses with defaults in the code, overridden by a TOML file."""

import hashlib
import json
import math
from dataclasses import asdict, fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, TypeVar

from photometry.core.errors import SettingsError

Settings = TypeVar("Settings")


def override(defaults: Settings, values: dict[str, Any], section: str) -> Settings:
    """Return the settings with some values replaced.

    Raises
    ------
    SettingsError
        For an unknown key (names the nearest valid one) or a value of another type.
    """
    known = {field.name for field in fields(defaults)}
    changes = {}
    for key, value in values.items():
        if key not in known:
            raise SettingsError(f"[{section}] has no setting '{key}'{hint(key, known)}")
        changes[key] = _checked(getattr(defaults, key), value, f"[{section}] {key}")
    return replace(defaults, **changes)


def _checked(default: Any, value: Any, where: str) -> Any:
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if default is not None and type(value) is not type(default):
        raise SettingsError(f"{where} = {value!r}: expected a {type(default).__name__}, "
                            f"such as the default {default!r}")
    if isinstance(value, float) and math.isnan(value):
        raise SettingsError(f"{where} = nan: expected a number, such as the default {default!r}")
    return value


def hint(key: str, known: set[str]) -> str:
    """Return the end of a message about an unknown key: what it may be, or what there is."""
    near = get_close_matches(key, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; valid ones: {', '.join(sorted(known))}"


def override_sections(defaults: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Apply a parsed TOML document to named groups of settings; dots nest sections."""
    result = dict(defaults)
    for section, values in _flatten(document, set(defaults)).items():
        if section not in defaults:
            raise SettingsError(f"there is no section [{section}]{hint(section, set(defaults))}")
        result[section] = override(defaults[section], values, section)
    return result


def _flatten(document: dict[str, Any], known: set[str], prefix: str = "") -> dict[str, dict]:
    sections: dict[str, dict] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        if not isinstance(value, dict):
            raise SettingsError(f"setting '{name}' must be in a section, "
                                f"such as [{sorted(known)[0]}]")
        plain = {k: v for k, v in value.items() if not isinstance(v, dict)}
        nested = {k: v for k, v in value.items() if isinstance(v, dict)}
        if plain or not nested:
            sections[name] = plain
        sections.update(_flatten(nested, known, f"{name}.") if nested else {})
    return sections


def to_toml(sections: dict[str, Any]) -> str:
    """Return the effective settings as TOML text."""
    blocks = []
    for name, group in sections.items():
        lines = [f"{key} = {_toml(value)}" for key, value in asdict(group).items()]
        blocks.append("\n".join([f"[{name}]", *lines]))
    return "\n\n".join(blocks) + "\n"


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def fingerprint(*parts: Any) -> str:
    """Return a short digest of settings or plain values: equal input, equal text."""
    plain = [asdict(part) if is_dataclass(part) else part for part in parts]
    text = json.dumps(plain, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
