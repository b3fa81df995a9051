"""Text of others, such as names of files: no more than text, wherever it is written."""

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula."""


def printable(text: str) -> str:
    r"""The text on one line: tabs, line ends, escapes of terminals and what turns the direction of letters are escaped.

    >>> printable("a\tb")
    'a\\tb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def no_formula(text: str) -> str:
    """The text, behind a quote where a spreadsheet would take it for a formula.

    >>> no_formula("=1+1")
    "'=1+1"
    """
    return f"'{text}" if text.startswith(FORMULA) else text
