"""Fits an OpenVINO graph to geosim: 8-bit RGB pictures in, one float32 vector per picture out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from geosim.trainer.backbones.own_sidecar import Sidecar
from geosim.trainer.runtime.openvino import Exported, import_openvino
from geosim.trainer.temporary import private_folder

WIDTHS = (2, 16384)
"""Fewest and most features of a picture."""

_FLOATS = ("f16", "bf16", "f32", "f64")


class UnfitError(Exception):
    """A graph does not fit; the message is the reason, without the file."""


def fit_graph(graph: Any, sidecar: Sidecar) -> tuple[Exported, int]:
    """Build the preprocessing and the pooling into an OpenVINO model.

    Return the graph from ``(1, size, size, 3) uint8`` RGB to ``(1, width) float32``, and ``width``.

    Raises:
        UnfitError: the inputs or outputs do not fit the sidecar.
    """
    openvino = import_openvino()
    layout = _check_input(graph, sidecar)
    source = _output(graph, sidecar).get_node().input_value(0)
    size = sidecar.size
    shape = [1, 3, size, size] if layout == "NCHW" else [1, size, size, 3]
    try:
        cut = openvino.Model([openvino.opset13.result(source)], graph.get_parameters(), "network")
        cut.reshape(shape)
        source = cut.output(0).get_node().input_value(0)
        vector = _pooled(source, sidecar, layout)
        vector = openvino.opset13.convert(vector, "f32")
        whole = openvino.Model([openvino.opset13.result(vector)], cut.get_parameters(), "network")
        exported = _export(_preprocessed(whole, sidecar, layout))
    except RuntimeError as error:
        raise UnfitError(
            f"OpenVINO cannot run it on one picture of {size} x {size} pixels ({reason(error)})"
        ) from error
    return exported, int(vector.get_output_shape(0)[1])


def reason(error: Exception) -> str:
    """Return the part of an error's text that says what is wrong, as one short line."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    text = " ".join(told) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


def _check_input(graph: Any, sidecar: Sidecar) -> str:
    """Return the layout of the only input, NCHW or NHWC."""
    if len(graph.inputs) != 1:
        names = ", ".join(map(_name, graph.inputs))
        raise UnfitError(
            f"it has {len(graph.inputs)} inputs ({names}), expected one; export its image part "
            "alone"
        )
    if graph.get_sinks() or graph.get_variables():
        raise UnfitError("it keeps a state from one picture to the next")
    (given,) = graph.inputs
    shape, kind = given.get_partial_shape(), given.get_element_type().get_type_name()
    rank = shape.rank
    shown = f"input {_name(given)} is {_shape(shape)} {kind}"
    if rank.is_dynamic or rank.get_length() != 4:
        raise UnfitError(f"{shown}, expected pictures: four axes, of batch, channels and sides")
    if kind not in _FLOATS and not (kind == "u8" and _is_plain(sidecar)):
        plain = 'or uint8 with "range": [0, 255]'
        raise UnfitError(f"{shown}, expected floating-point numbers, {plain}")
    sizes = [None if one.is_dynamic else one.get_length() for one in shape]
    fitting = [
        layout
        for layout, axis in (("NCHW", 1), ("NHWC", 3))
        if sizes[axis] in (3, None) and sidecar.layout in (layout, None)
    ]
    exact = [layout for layout in fitting if sizes[layout.index("C")] == 3]
    fitting = exact if len(exact) == 1 else fitting
    if not fitting:
        axes = sidecar.layout or "NCHW or NHWC"
        raise UnfitError(f"{shown}, expected 3 channels and the axes {axes}")
    if len(fitting) > 1:
        raise UnfitError(f'{shown}: name its "layout", NCHW or NHWC, in the sidecar')
    (layout,) = fitting
    sides = [sizes[layout.index(axis)] for axis in "HW"]
    if any(side not in (sidecar.size, None) for side in sides):
        raise UnfitError(
            f"{shown}, which takes {' x '.join(map(str, sides))} pixels, but the sidecar's size is "
            f"{sidecar.size}; geosim gives squares of that size"
        )
    return layout


def _output(graph: Any, sidecar: Sidecar) -> Any:
    """Return the output that the sidecar names, or the only one."""
    names = [_name(one) for one in graph.outputs]
    if not graph.outputs:
        raise UnfitError("it has no output")
    if sidecar.output is None:
        if len(names) > 1:
            raise UnfitError(
                f'it has {len(names)} outputs: name one of {", ".join(names)} as "output" in the '
                "sidecar"
            )
        return graph.outputs[0]
    for one in graph.outputs:
        if sidecar.output in one.get_names():
            return one
    raise UnfitError(f"it has no output {sidecar.output!r}, but {', '.join(names)}")


def _pooled(source: Any, sidecar: Sidecar, layout: str) -> Any:
    """Return a node of shape ``(1, width)``."""
    import numpy as np

    operations = import_openvino().opset13
    shape, kind = source.get_partial_shape(), source.get_element_type().get_type_name()
    shown = f"the output is {_shape(shape)} {kind} for one picture"
    if kind not in _FLOATS:
        raise UnfitError(f"{shown}, expected floating-point numbers")
    if shape.is_dynamic:
        raise UnfitError(f"{shown}, expected a fixed shape")
    sizes = list(shape.to_shape())
    if not sizes or sizes[0] != 1:
        raise UnfitError(f"{shown}, expected 1 first; export it for one picture or for any number")
    trailing = [size for size in sizes[1:] if size != 1]
    if sidecar.pooling == "none":
        if len(trailing) > 1:
            raise UnfitError(f'{shown}, expected a vector; name a "pooling", mean or cls')
        vector = operations.reshape(source, np.array([1, -1]), special_zero=False)
    elif len(sizes) == 3:
        if sidecar.pooling == "cls":
            vector = operations.gather(source, np.array(0), np.array(1))
        else:
            vector = operations.reduce_mean(source, np.array([1]))
    elif len(sizes) == 4 and sidecar.pooling == "mean":
        vector = operations.reduce_mean(source, np.array(_sides(sizes, layout)))
    else:
        needed = "three axes, with tokens" if sidecar.pooling == "cls" else "tokens or a map"
        raise UnfitError(f"{shown}, expected {needed} for the pooling {sidecar.pooling}")
    width = vector.get_output_shape(0)[1]
    if not WIDTHS[0] <= width <= WIDTHS[1]:
        raise UnfitError(
            f"{shown}, which makes {width:,} features, expected {WIDTHS[0]} to {WIDTHS[1]:,}"
        )
    return vector


def _sides(sizes: list[int], layout: str) -> list[int]:
    """Return the axes of a map that are its sides; those of the input decide where both fit."""
    first, last = sizes[2] == sizes[3], sizes[1] == sizes[2]
    if first != last:
        return [2, 3] if first else [1, 2]
    return [2, 3] if layout == "NCHW" else [1, 2]


def _preprocessed(graph: Any, sidecar: Sidecar, layout: str) -> Any:
    """Prepend the conversion from ``(1, size, size, 3) uint8`` RGB."""
    openvino = import_openvino()
    steps = openvino.preprocess.PrePostProcessor(graph)
    given = steps.input()
    given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    given.model().set_layout(openvino.Layout(layout))
    process = given.preprocess()
    if not _is_plain(sidecar):
        process.convert_element_type(openvino.Type.f32)
    if sidecar.channels == "BGR":
        process.reverse_channels()
    if not _is_plain(sidecar):
        step = (sidecar.high - sidecar.low) / 255
        process.mean([(mean - sidecar.low) / step for mean in sidecar.mean])
        process.scale([std / step for std in sidecar.std])
    return steps.build()


def _is_plain(sidecar: Sidecar) -> bool:
    """Return whether the network takes pixels 0..255 as they are."""
    plain = Sidecar(sidecar.size, sidecar.channels, 0.0, 255.0)
    given = (sidecar.low, sidecar.high, sidecar.mean, sidecar.std)
    return given == (plain.low, plain.high, plain.mean, plain.std)


def _export(graph: Any) -> Exported:
    with private_folder(Path(tempfile.gettempdir())) as folder:
        path = folder / "graph.xml"
        import_openvino().serialize(graph, str(path), str(path.with_suffix(".bin")))
        return Exported.read(path)


def _name(port: Any) -> str:
    return min(port.get_names(), default="without a name")


def _shape(shape: Any) -> str:
    return str(shape).replace(",", " x ")
