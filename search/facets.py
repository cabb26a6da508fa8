"""What values the images of a collection have: counts of texts, the ends of numbers and dates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from geosim.ingest.conditions import Condition, Not, Present, both
from geosim.ingest.schema import Filter
from geosim.ingest.store.base import VectorStore
from geosim.search.fields import Field, Fields
from geosim.search.where import parse_where
from geosim.trainer.data.facts import DATE, NUMBER, TEXT, YES_NO


@dataclass(frozen=True, slots=True)
class Facet:
    """The values of one field.

    Attributes:
        name: of the field, as an expression names it.
        kind: a type of `geosim.trainer.data.facts`.
        images: number of images that have a value.
        values: the most frequent texts and how many images have each; of no other kind.
        more: whether there are other texts.
        least: the least number or date; None of other kinds, and without images.
        greatest: the greatest.
    """

    name: str
    kind: str
    images: int
    values: tuple[tuple[str, int], ...] = ()
    more: bool = False
    least: Any = None
    greatest: Any = None


def read_facets(
    store: VectorStore, where: str | None, most_values: int, most_fields: int
) -> list[Facet]:
    """Return the facets of the images for which an expression holds; of all without one.

    They are of the class, the data set, and then the facts, by name; of texts there are up to
    ``most_values``, the most frequent first.

    Raises:
        ExpressionError: the expression cannot be read.
    """
    fields = Fields(store)
    condition = None if where is None else parse_where(where, fields)
    every = [fields.find("class"), fields.find("dataset"), *facts_of(fields)]
    matching = store.count(Filter(where=condition))
    return [_facet(store, field, condition, matching, most_values) for field in every[:most_fields]]


def facts_of(fields: Fields) -> list[Field]:
    """Return the facts that have an index, by name; an engine counts and orders no others."""
    return [fields.fact(name) for name in sorted(fields.indexed)]


def _facet(
    store: VectorStore, field: Field, condition: Condition | None, matching: int, most_values: int
) -> Facet:
    having = Filter(where=both(condition, Present(field.path)))
    # An engine counts few that have no value faster than many that have one.
    images = matching - store.count(Filter(where=both(condition, Not(Present(field.path)))))
    if field.kind == TEXT:
        values = tuple(store.facet(field.path, most_values + 1, Filter(where=condition)))
        yes_no = field.fact is not None and bool(values) and {v for v, _ in values} <= {"yes", "no"}
        kind = YES_NO if yes_no else TEXT
        return Facet(field.name, kind, images, values[:most_values], more=len(values) > most_values)
    if field.kind in (NUMBER, DATE) and (ends := store.ends(field.path, having)):
        least, greatest = map(field.of, ends)
        return Facet(field.name, field.kind, images, least=least, greatest=greatest)
    return Facet(field.name, field.kind, images)
