"""The syntax of conditions on facts: the grammar, and what is told where a text breaks it.

`geosim.search.where` tells what an expression means.
"""

from __future__ import annotations

from functools import cache

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedToken

from geosim.trainer.errors import ExpressionError
from geosim.trainer.text import printable

MAX_LENGTH = 4000
"""Characters of an expression: an address of the page has room for them."""

_GRAMMAR = r"""
?start: or
?or: and (_OR and)*
?and: not (_AND not)*
?not: negation | "(" or ")" | compare | contains | has | near
negation: _NOT not
compare: text COMPARE text
contains: text NOT_IN? _IN "(" text ("," text)* ")"
has: _HAS "(" text ")"
near: NEAR "(" text ("," text)* text? ")"
?text: WORD | QUOTED

COMPARE: "==" | "!=" | "<>" | "<=" | ">=" | "=" | "<" | ">"
_OR.2: /or(?![^\s()=<>!,"'])/i
_AND.2: /and(?![^\s()=<>!,"'])/i
_NOT.2: /not(?![^\s()=<>!,"'])/i
NOT_IN.3: /not(?=\s+in\s*\()/i
_IN.2: /in(?=\s*\()/i
_HAS.2: /has(?=\s*\()/i
NEAR.2: /near(?=\s*\()/i
WORD: /[^\s()=<>!,"'“”„«»‘’]+/
QUOTED: /"([^"]|"")*"|'([^']|'')*'/
%ignore /\s+/
"""

_EXPECTED = {
    "_NOT": "a condition, such as depth >= 2900",
    "COMPARE": "=, !=, <, <=, >, >= or in (...)",
    "COMMA": "',' or ')'",
    "WORD": "a name or a value",
    "$END": "and, or, or the end",
    "LPAR": "'('",
    "RPAR": "')'",
}
"""What to write for the tokens that may follow; the first that is among them tells it."""


def parse(text: str) -> Tree[Token]:
    """Return the syntax tree of an expression.

    Its nodes are ``or``, ``and``, ``negation``, ``compare``, ``contains``, ``has`` and ``near``.

    Raises:
        ExpressionError: it is too long, or no expression.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"the expression has {len(text):,} characters, at most {MAX_LENGTH:,} are read; write "
            "a shorter one",
            MAX_LENGTH,
        )
    try:
        return _parser().parse(text)
    except UnexpectedCharacters as error:
        raise _character_fault(text, error.pos_in_stream or 0) from error
    except UnexpectedToken as error:
        raise _token_fault(text, error) from error


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr")


def fault(place: int, why: str) -> ExpressionError:
    """Return the error of an expression that fails at a place, from 0."""
    return ExpressionError(f"column {place + 1} of the expression: {why}", place)


def _character_fault(text: str, place: int) -> ExpressionError:
    character = text[place]
    if character in "\"'":
        return fault(place, f"the quote {character} is not closed; write one in a text twice")
    if character in "“”„«»‘’":
        return fault(place, f"received the quote {character}; write \" or '")
    return fault(
        place, f"received {printable(character)!r}; put names and values with it in quotes"
    )


def _token_fault(text: str, error: UnexpectedToken) -> ExpressionError:
    accepted = error.accepts or error.expected
    expected = next((told for name, told in _EXPECTED.items() if name in accepted), "another word")
    if expected == "')'" and isinstance(_last_read(error), Tree):
        expected = "and, or, or ')'"
    ends = error.token.type == "$END"
    received = "the end" if ends else repr(printable(str(error.token)[:40]))
    place = len(text.rstrip()) if ends else error.token.start_pos or 0
    return fault(place, f"expected {expected}, received {received}")


def _last_read(error: UnexpectedToken) -> object:
    """Return what was read before the token: a tree, if it was a condition."""
    return error.interactive_parser.parser_state.value_stack[-1]
