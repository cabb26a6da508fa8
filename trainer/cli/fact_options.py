"""Options of all commands that read DATA: where its classes and facts come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from geosim.trainer.facts.types import TYPES
from geosim.trainer.text import is_encoding

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def _types(
    _ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    types = {}
    for value in values:
        name, equals, kind = value.rpartition("=")
        if not equals or not name.strip() or kind not in TYPES:
            raise click.BadParameter(
                f"expected FACT=TYPE with a type of {', '.join(TYPES)}, received {value!r}"
            )
        types[name.strip()] = kind
    return types


def _encoding(_ctx: click.Context, _parameter: click.Parameter, name: str | None) -> str | None:
    if name is not None and not is_encoding(name):
        raise click.BadParameter(
            f"{name!r} is no encoding of text; expected a name such as gb18030, shift_jis or koi8-r"
        )
    return name


def fact_options(function: AnyFunction) -> AnyFunction:
    """Add the options; the function receives them as ``described``, a `FactOptions`."""

    @click.option(
        "--class-from",
        metavar="RULE",
        help="Where classes come from: folder, none, or the name of a fact, such as a column of "
        "--table. Kept for the data set  [default: folder]",
    )
    @click.option(
        "--table",
        type=click.Path(path_type=Path),
        help="CSV or TSV file with facts of the pictures. One column has their file names, paths "
        "or patterns such as 'A-7_*'; the others become facts.",
    )
    @click.option(
        "--table-key",
        metavar="COLUMN",
        help="The column of --table that names pictures  [default: the one that does]",
    )
    @click.option(
        "--table-encoding",
        metavar="NAME",
        callback=_encoding,
        help="Encoding of --table, such as gb18030, shift_jis or koi8-r  [default: UTF-8, UTF-16 "
        "or else Windows-1252]",
    )
    @click.option(
        "--fact-type",
        "fact_types",
        multiple=True,
        metavar="FACT=TYPE",
        callback=_types,
        help=f"Type of a fact, in place of the one that is found: {', '.join(TYPES)}; may be "
        "repeated.",
    )
    @click.option(
        "--name-pattern",
        metavar="PATTERN",
        help="Facts in the names of pictures, such as '{hole}_{box}_{from}_{to}'. Values of "
        "--table come first.",
    )
    @click.option(
        "--exif",
        is_flag=True,
        help="Facts time, camera and location from EXIF data, where neither table nor name has "
        "them.",
    )
    @wraps(function)
    def wrapper(
        *args: Any,
        class_from: str | None,
        table: Path | None,
        table_key: str | None,
        table_encoding: str | None,
        fact_types: Mapping[str, str],  # no mapping, but empty, where another command invokes it
        name_pattern: str | None,
        exif: bool,
        **options: Any,
    ) -> Any:
        from geosim.trainer.facts.collect import FactOptions

        described = FactOptions(
            class_from or None,
            table,
            table_key,
            table_encoding,
            dict(fact_types),
            name_pattern,
            exif,
        )
        return function(*args, described=described, **options)

    return wrapper  # type: ignore[return-value]
