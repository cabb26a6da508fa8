"""Opens a data set with its facts and the rule for its classes, as the options of a command say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from geosim.trainer.data.dataset import Dataset, open_dataset
from geosim.trainer.data.facts import GEO, Facts, Layer
from geosim.trainer.data.layout import Decide, Layout, Parts
from geosim.trainer.data.places import FOLDER, NONE
from geosim.trainer.errors import DatasetError
from geosim.trainer.facts.exif import exif_facts
from geosim.trainer.facts.pattern import name_facts
from geosim.trainer.facts.table import table_facts

Told = tuple[Layer, list[str]]


@dataclass(frozen=True, slots=True)
class FactOptions:
    """Where facts and classes of a data set come from.

    Attributes:
        class_from: `FOLDER`, `NONE` or the name of a fact; None for the rule that the data set has.
        table: CSV or TSV file.
        key: column of the table that names pictures; None to find it.
        encoding: of the table; None to find it.
        types: types of facts by name, instead of those that are found.
        pattern: of facts in the names of pictures (`trainer/facts/pattern.py`).
        exif: whether to read facts from EXIF data.
    """

    class_from: str | None = None
    table: Path | None = None
    key: str | None = None
    encoding: str | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    pattern: str | None = None
    exif: bool = False


def open_described(
    location: Path,
    exclude: Sequence[str],
    decide: Decide,
    options: FactOptions,
    *,
    hashes: Path | None = None,
    rehash: bool = False,
) -> Dataset:
    """List the images of ``location`` as `open_dataset` does, with their facts and classes.

    ``rehash`` reads the EXIF data of pictures again that seem unchanged, which is kept in
    ``hashes``.

    Raises:
        DatasetError: the data set or a source of facts cannot be used, or there is no fact of the
            name that the classes come from.
    """

    def decide_with_rule(where: Path, images: Collection[Parts]) -> Layout:
        layout = decide(where, images)
        return replace(layout, class_from=options.class_from or layout.class_from)

    dataset = open_dataset(location, exclude, decide_with_rule, hashes=hashes)
    for option, value in (("--table-key", options.key), ("--table-encoding", options.encoding)):
        if value is not None and options.table is None:
            raise DatasetError(f"{option} is about a table; give the table with --table")
    layers, told = [], list(dataset.notes)
    for read in _sources(options, partial(exif_facts, folder=hashes, rehash=rehash)):
        layer, notes = read(dataset)
        layers.append(layer)
        told += notes
    _check_types(options.types, layers)
    facts = Facts(tuple(_agreeing(layers, told))) if layers else None
    dataset = replace(dataset, facts=facts, notes=tuple(told))
    rule = dataset.place.class_from
    return dataset if rule in (FOLDER, NONE) else _with_classes(dataset, rule)


def _sources(
    options: FactOptions, exif: Callable[[Dataset], Told]
) -> list[Callable[[Dataset], Told]]:
    """Return the sources of facts, the one that comes before the others first."""
    sources: list[Callable[[Dataset], Told]] = []
    if options.table is not None:
        table, key, types = options.table, options.key, options.types
        sources.append(
            lambda data: table_facts(table, _paths(data), key, types, encoding=options.encoding)
        )
    if options.pattern is not None:
        pattern = options.pattern
        sources.append(lambda data: name_facts(pattern, _paths(data), options.types))
    if options.exif:
        sources.append(exif)
    return sources


def _agreeing(layers: Sequence[Layer], told: list[str]) -> Iterator[Layer]:
    """Yield the layers without the facts that one before has with another type; tell them."""
    types: dict[str, str] = {}
    for layer in layers:
        other = {name for name, kind in layer.types.items() if types.get(name, kind) != kind}
        told += [
            f"fact {name}: {types[name]} values are kept, {layer.types[name]} ones of the next "
            "source left out; the order is table, name, EXIF"
            for name in sorted(other)
        ]
        types |= {name: kind for name, kind in layer.types.items() if name not in other}
        columns = {name: one for name, one in layer.columns.items() if name not in other}
        yield Layer(columns, {name: types[name] for name in columns}, layer.rows)


def _paths(dataset: Dataset) -> list[str]:
    return [record.path for record in dataset.records]


def _check_types(types: Mapping[str, str], layers: Sequence[Layer]) -> None:
    """Raise `DatasetError` for a type of a fact that there is not."""
    known = {name for layer in layers for name in layer.types}
    pairs = any(kind == GEO for layer in layers for kind in layer.types.values())
    for name, kind in types.items():
        if name not in known and not (pairs and kind in ("latitude", "longitude")):
            listed = ", ".join(sorted(known)) or "none; give them, as with --table"
            raise DatasetError(f"--fact-type names {name!r}, which is no fact; facts: {listed}")


def _with_classes(dataset: Dataset, name: str) -> Dataset:
    """Return a data set whose classes are the values of a fact."""
    types = {} if dataset.facts is None else dataset.facts.types
    if dataset.facts is None or types.get(name) in (None, GEO):
        known = ", ".join(one for one, kind in types.items() if kind != GEO)
        given = f"its facts: {known}" if known else "give the facts, as with --table"
        raise DatasetError(
            f"the classes of {dataset.name} come from {name!r}, which is no fact here; {given}, or "
            f"take --class-from {FOLDER} or {NONE}"
        )
    records = tuple(
        replace(record, label=str(dataset.facts.of(record.path).get(name, "")))
        for record in dataset.records
    )
    return replace(dataset, records=records)
