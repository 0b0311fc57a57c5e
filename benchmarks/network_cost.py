"""How many operations an ONNX network takes, and what the machine can do at most."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, shape_inference
from threadpoolctl import threadpool_limits

from livertumor_cli.engine.engine import Engine, EngineRequest, Precision
from livertumor_cli.engine.open_engine import open_engine
from livertumor_cli.recipes.store import find_recipe

PRODUCT_SIZE = 2048
"""Rows and columns of the matrices."""

PRODUCT_S = 2.0
"""So long it is repeated; the shortest time counts."""


def network_gflop(path: Path) -> float:
    """Multiply-adds of all convolutions and matrix products, counted twice as usual, in 10^9."""
    model = shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    total = 0
    for node in graph.node:
        shape = [shapes.get(name, ()) for name in node.input]
        out = shapes.get(node.output[0], ())
        if node.op_type == "Conv":
            total += int(np.prod(out)) * int(np.prod(shape[1][1:]))
        elif node.op_type == "ConvTranspose":
            total += int(np.prod(shape[0])) * int(np.prod(shape[1][1:]))
        elif node.op_type == "MatMul":
            total += int(np.prod(out)) * int(shape[0][-1])
    return 2 * total / 1e9


def print_networks(name: str, *, precision: str = "auto", threads: int | None = None) -> None:
    """Rate inside each network of a recipe against the machine's own matrix product.

    Args:
        name: The recipe.
        precision: As `livertumor segment --precision` takes it.
        threads: CPU threads; the engine's choice where None.
    """
    recipe = find_recipe(name)
    for stage in recipe.stages:
        path = recipe.stage_path(stage)
        asked = Precision(str(stage.cpu_precision) if precision == "auto" else precision)
        engine = open_engine(EngineRequest(file=path, precision=asked, threads=threads))
        gflop, seconds = network_gflop(path), window_seconds(engine, stage.network_patch)
        obtained = engine.info.precision
        rate = machine_gflops(obtained, threads=threads)
        print(
            f"{stage.name}: {gflop:.0f} GFLOP per window of {stage.patch}, {seconds:.2f} s, "
            f"{gflop / seconds:.0f} GFLOP/s; matrix product {rate:.0f} GFLOP/s "
            f"({100 * gflop / seconds / rate:.0f} %) in {obtained}"
        )


def window_seconds(engine: Engine, patch: Sequence[int]) -> float:
    """Best time of one window of several through a network."""
    batch = np.random.default_rng(0).random((1, 1, *patch), dtype=np.float32)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        engine.run(batch)
        times.append(time.perf_counter() - started)
    return min(times)


def machine_gflops(precision: Precision, *, threads: int | None = None) -> float:
    """Rate of a large matrix product in 10^9/s: the engine's, or numpy's where that is faster.

    numpy's BLAS has no bfloat16 or 16-bit floats, so it counts in 32-bit floats alone.
    """
    rate = engine_product_gflops(precision, threads=threads)
    if precision is Precision.F32:
        rate = max(rate, numpy_product_gflops(threads=threads))
    return rate


def numpy_product_gflops(*, threads: int | None = None) -> float:
    """Rate of numpy's own product of 32-bit floats, best run."""
    left, right = np.random.default_rng(0).random((2, PRODUCT_SIZE, PRODUCT_SIZE), dtype=np.float32)
    with threadpool_limits(threads, user_api="blas"):
        seconds = shortest_s(lambda: left @ right)
    return 2 * PRODUCT_SIZE**3 / seconds / 1e9


def engine_product_gflops(precision: Precision, *, threads: int | None = None) -> float:
    """Rate of a product through the engine that runs the networks, best run."""
    size, rng = PRODUCT_SIZE, np.random.default_rng(0)
    weights = (rng.standard_normal((size, size)) / np.sqrt(size)).astype(np.float32)
    # Ten products in a row, so that copying input and output in and out does not count.
    names = ["x", *[f"y{i}" for i in range(9)], "y"]
    nodes = [
        helper.make_node("MatMul", [before, "w"], [after]) for before, after in pairwise(names)
    ]
    shape = [1, 1, size, size]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "products.onnx"
        onnx.save(model, path)
        engine = open_engine(EngineRequest(file=path, precision=precision, threads=threads))
        batch = rng.standard_normal(shape).astype(np.float32)
        seconds = shortest_s(lambda: engine.run(batch))
    return 10 * 2 * size**3 / seconds / 1e9


def shortest_s(work: Callable[[], object]) -> float:
    """Shortest time of a piece of work, repeated for PRODUCT_S after a first run."""
    work()
    best, until = float("inf"), time.perf_counter() + PRODUCT_S
    while time.perf_counter() < until:
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best
