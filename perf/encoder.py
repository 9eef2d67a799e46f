"""How fast cells go forwards and backwards through the encoder: `python perf/encoder.py --json --released DIR`.

The paper's size, dropout 0, gene table frozen, all else trained. What is differentiated is the embedding of CLS, of one
cell at a time: none of ours is padded, as cells of like length lie together in training (`padding_fraction` says how
well). Ours and a peer run in turn in one process, on the same tokens; a ratio is the median of the ratios of turns.
Lengths are the means of equal parts of the corpus's distribution, so that few cells have its mean.

Peers: the encoder that CellLM's authors released, in a checkout of the repository PharMolix/OpenBioMed (`--released`),
which pads each cell to 6,000 tokens; performer-pytorch 1.1.4; scBERT's architecture at its own size, every one of its
genes a token, put together from performer-pytorch by its description. Peers in float32; `_bf16`: ours under autocast,
left out where the processor only emulates it. The released file wants einops and local-attention, as performer-pytorch
does. A full run takes about 8 minutes on two cores and 16 GB.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import PAPER, Cell, Contender, cell, ours, performer_pytorch, released, scbert, square_product
from line import line, show

from celllm.pretrain.chunks import by_tokens, padding_fraction
from celllm.pretrain.flops import encoding_flops
from celllm.pretrain.synthetic import synthetic_lengths

BF16_WORTHWHILE = 1.0
"""At fewer times float32's rate a processor only emulates bfloat16, and a cell takes minutes."""


Clock = Callable[[], float]


def seconds(run: Contender, cells: Sequence[Cell], clock: Clock) -> float:
    """Return the mean time of a cell."""
    started = clock()
    for tokens in cells:
        run(tokens)
    return (clock() - started) / len(cells)


def in_turn(contenders: Sequence[tuple[Contender, Sequence[Cell]]], repeats: int, clock: Clock) -> np.ndarray:
    """Run contenders in turn, each on its cells; return seconds a cell, a row a turn."""
    for run, cells in contenders:
        if len(cells) > 1:  # a single cell is a pass so long that it needs no warming
            run(cells[0])
    return np.array([[seconds(run, cells, clock) for run, cells in contenders] for _ in range(repeats)])


def bf16_over_float32() -> float:
    """Return how many times faster this processor multiplies in bfloat16 than in float32."""

    def best(matrix: torch.Tensor) -> float:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - started)
        return min(times)

    x = torch.randn(512, 512)
    return best(x) / best(x.bfloat16())


def typical_lengths(n_cells: int) -> np.ndarray:
    """Return the means of so many equal parts of all lengths in their order: few cells with the corpus's mean."""
    drawn = np.sort(synthetic_lengths(100_000 // n_cells * n_cells))
    return drawn.reshape(n_cells, -1).mean(axis=1).round().astype(np.int64)


class Measure:
    """Measures and prints, a line or two a comparison."""

    def __init__(self, *, repeats: int, as_json: bool, clock: Clock) -> None:
        self.repeats, self.as_json, self.clock = repeats, as_json, clock
        self.bf16 = bf16_over_float32()

    def line(self, name: str, value: float | None, unit: str, **more: Any) -> None:
        show(line(name, value, unit, **more), as_json=self.as_json)

    def versus(
        self,
        names: tuple[str, str],
        peer: Callable[[], Contender],
        described: str,
        cells: Sequence[Cell],
        *,
        bars: tuple[float | None, float | None],
        missing: str | None,
        peer_cells: Sequence[Cell] | None = None,
    ) -> None:
        """Compare ours in float32 and in bfloat16 with a peer in float32, or say why not."""
        contenders = [(ours(), cells)]
        if self.bf16 >= BF16_WORTHWHILE:
            contenders.append((ours(bf16=True), cells))
        if missing is None:
            contenders.append((peer(), peer_cells or cells))
        times = in_turn(contenders, self.repeats, self.clock)
        rates = np.median(1 / times, axis=0)
        for i, (name, bar) in enumerate(zip(names, bars, strict=True)):
            if i == 1 and self.bf16 < BF16_WORTHWHILE:
                why = f"not measured: this processor has bfloat16 at {self.bf16:.2f} of float32's rate"
                self.line(name, None, "cells/s", peer=why, bar=bar)
            elif missing is not None:
                self.line(name, float(rates[i]), "cells/s", peer=missing, bar=bar)
            else:
                ratio = float(np.median(times[:, -1] / times[:, i]))
                theirs = f"{described}, float32: {rates[-1]:.4f} cells/s"
                ok = None if bar is None else ratio >= bar
                self.line(name, float(rates[i]), "cells/s", peer=theirs, ratio=ratio, bar=bar, ok=ok)

    def softmax(self, cells: Sequence[Cell]) -> None:
        """Compare exact softmax attention with FAVOR+."""
        times = in_turn([(ours("softmax"), cells), (ours(), cells)], self.repeats, self.clock)
        softmax, favor = np.median(1 / times, axis=0)
        ratio = float(np.median(times[:, 1] / times[:, 0]))
        peer = f"FAVOR+ at {cells[0][0].shape[1]} tokens: {favor:.4f} cells/s"
        self.line("softmax_vs_favor", float(softmax), "cells/s", peer=peer, ratio=ratio)

    def flops_rate(self, cells: Sequence[Cell]) -> None:
        """Compare the rate of floating-point operations with that of a large matrix product."""
        product, n_flops = square_product()
        ours_flops = sum(one.total for one in encoding_flops(PAPER, cells[0][0].shape[1], 1))
        times = in_turn([(ours(), cells), (product, cells)], self.repeats, self.clock)
        rate, alone = np.median(1 / times, axis=0) * (ours_flops, n_flops) / 1e9
        peer = f"a product of two square matrices: {alone:.1f} GFLOP/s"
        self.line("flops_rate", float(rate), "GFLOP/s", peer=peer, ratio=float(rate / alone))

    def padding(self, n_cells: int = 1024, max_tokens: int = 16_384) -> None:
        """Say how much of what is encoded is padding when a batch is cut into chunks by tokens."""
        drawn = synthetic_lengths(n_cells)
        share = padding_fraction(drawn, by_tokens(drawn, max_tokens))
        self.line("padding_fraction", share, "of all tokens", bar=0.05, ok=share <= 0.05)


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    options.add_argument("--released", type=Path, help="a checkout of PharMolix/OpenBioMed")
    options.add_argument("--cells", type=int, default=3, help="cells a measurement, of lengths as in the corpus")
    options.add_argument("--repeats", type=int, default=3, help="turns")
    options.add_argument("--threads", type=int, help="threads of torch; default: its own choice, all cores")
    options.add_argument(
        "--cpu-time", action="store_true", help="one thread's own time, for a machine that others use as well"
    )
    options.add_argument(
        "--only", nargs="+", help="released, performer, softmax, matmul, scbert, padding; default: all"
    )
    return options


def main() -> None:
    """Measure and print."""
    args = parser().parse_args()
    warnings.filterwarnings("ignore")  # peers' calls of torch are old
    torch.default_generator.manual_seed(0)
    threads = 1 if args.cpu_time else args.threads
    if threads is not None:
        torch.set_num_threads(threads)
    absent = [name for name in ("performer_pytorch", "einops", "local_attention") if not importlib.util.find_spec(name)]
    missing = f"not installed: {', '.join(absent)}" if absent else None
    package = missing or f"performer-pytorch {metadata.version('performer-pytorch')}"
    measure = Measure(
        repeats=args.repeats, as_json=args.json, clock=time.process_time if args.cpu_time else time.perf_counter
    )
    typical = [cell(int(length), i) for i, length in enumerate(typical_lengths(args.cells))]
    equal = [cell(1_500, i) for i in range(2)]

    parts: dict[str, Callable[[], None]] = {
        "released": lambda: measure.versus(
            ("vs_released_fp32", "vs_released_bf16"),
            lambda: released(args.released),
            "the released encoder",
            typical,
            bars=(9, 28),
            missing="no checkout of PharMolix/OpenBioMed: give --released" if args.released is None else missing,
            peer_cells=typical[:1],  # padded to 6,000, all take as long
        ),
        "performer": lambda: measure.versus(
            ("vs_performer_pytorch", "vs_performer_pytorch_bf16"),
            performer_pytorch,
            package,
            equal,
            bars=(1.2, None),
            missing=missing,
        ),
        "softmax": lambda: measure.softmax(equal),
        "matmul": lambda: measure.flops_rate(equal),
        "scbert": lambda: measure.versus(
            ("vs_scbert_fp32", "vs_scbert_bf16"),
            scbert,
            f"scBERT's size from {package}",
            typical,
            bars=(5, 15),
            missing=missing,
            peer_cells=typical[:1],  # every gene of any cell is a token
        ),
        "padding": measure.padding,
    }
    for name in args.only or parts:
        parts[name]()


if __name__ == "__main__":
    main()
