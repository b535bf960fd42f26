"""What a check in Python is written with. There is no clock, no file, no output and no network but the host's."""

from componentize_py_types import Err
from wit_world.imports.types import Finding


class Config:
    """The operator's configuration: a key that is not known is an error."""

    def __init__(self, given, keys):
        self.values = dict(given)
        for key in self.values:
            if key not in keys:
                raise Err(f"unknown key: {key}; there are {', '.join(keys)}")

    def text(self, key, otherwise):
        return self.values.get(key, otherwise)

    def number(self, key, otherwise, least, most):
        """A whole number from `least` to `most`."""
        text = self.values.get(key)
        if text is None:
            return otherwise
        if not (text.isascii() and text.isdigit() and len(text) <= 18 and least <= int(text) <= most):
            raise Err(f"{key} must be a whole number from {least} to {most}")
        return int(text)


def finding(code, severity, subject, summary, remedies=(), attributes=()):
    """One finding; `severity` is ok, info, warning, critical or unknown."""
    return Finding(code, severity, subject, summary, list(remedies), list(attributes))


def why(error):
    """Why a capability did not answer, for a person."""
    given = error.value
    kind = type(given).__name__.removeprefix("Error_").lower()
    said = getattr(given, "value", "")
    return f"{kind}: {said}" if said else kind
