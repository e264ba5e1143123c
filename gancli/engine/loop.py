"""Training loop: phases in order, averages, log, sample grids, checkpoints, and a clean stop.

A checkpoint holds everything that the next step depends on, and batches are a function of the step. A run that is
killed and resumed therefore takes the same course as an unbroken run, bit for bit on the CPU.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Generic, Literal

import torch
from PIL import Image
from torch import nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

from gancli.atomic import atomic_file
from gancli.engine import distributed
from gancli.engine.checkpoint import (
    Checkpoint,
    RandomState,
    RunFolder,
    load_tensors,
    prune,
    random_state,
    read_checkpoint,
    seed_everything,
    set_random_state,
    tensors_of,
    write_checkpoint,
)
from gancli.engine.compiling import compile_networks, compiled_networks_run
from gancli.engine.ema import Averages
from gancli.engine.events import Events, LogFile, progress_line
from gancli.engine.phases import Batch, Phase, Shared, Trainable, train_only
from gancli.engine.precision import Precision
from gancli.engine.recompute import recompute_large_blocks
from gancli.errors import RunError

Networks = Mapping[str, nn.Module]


@dataclass(frozen=True)
class LoopSettings:
    """Settings of a training loop.

    Attributes:
        steps: Last step, counted from the start of the run; None for no limit.
        minutes: Limit on the wall-clock minutes of the run, summed over its sessions; None for no limit.
        log_every: Steps between two rows of log.csv.
        sample_every: Steps between two sample grids.
        checkpoint_every: Steps between two checkpoints.
        keep: Number of checkpoints to keep in addition to the best.
        precision: "tf32" lets CUDA round the factors of float32 products; "bf16" runs `begin` and the losses under
            autocast.
        channels_last: Store 4-D weights in channels_last memory format.
        compile: Compile the networks in place; they run uncompiled for samples, metrics and exports.
        activation_checkpointing: Run large blocks again in the backward pass instead of keeping their activations.
        deterministic: Use only kernels that give the same result every time.
        seed: Seed of every random number generator; each rank draws its own numbers.
        ema_decay: Decay of the weight averages, in [0, 1); None for no averages.
        ema_warmup: Let the decay rise to that with the steps.
        steps_per_epoch: Steps per epoch, for `on_epoch` and the progress line.
        batch: Images per step and process, over all accumulated batches.
        grad_accumulation: Batches per step whose gradients are averaged. With more than one, every phase calls `begin`
            again for each batch, with the same random numbers, so that memory holds the graph of only one batch and
            one phase at a time.
    """

    steps: int | None = None
    minutes: float | None = None
    log_every: int = 50
    sample_every: int = 1000
    checkpoint_every: int = 1000
    keep: int = 3
    precision: Precision = "float32"
    channels_last: bool = True
    compile: bool = False
    activation_checkpointing: bool = False
    deterministic: bool = False
    seed: int = 0
    ema_decay: float | None = 0.999
    ema_warmup: bool = False
    steps_per_epoch: int = 1
    batch: int = 1
    grad_accumulation: int = 1


@dataclass(frozen=True)
class LoopResult:
    """Result of a training loop.

    Attributes:
        step: Number of steps done in all sessions.
        images: Number of images seen in all sessions.
        seconds: Training time of all sessions, in seconds.
        interrupted: Name of the signal that stopped the loop, or None.
        last: Means of the loss terms in the last row of log.csv, by "phase.term".
    """

    step: int
    images: int
    seconds: float
    interrupted: str | None
    last: Mapping[str, float]

    @property
    def exit_code(self) -> int:
        """Exit code: 0, or 130 after Ctrl-C and 143 after SIGTERM or SIGUSR1."""
        return 0 if self.interrupted is None else 130 if self.interrupted == "SIGINT" else 143


class Loop(Generic[Batch, Shared]):
    """Trains a model until a limit or a signal, resuming from the run's checkpoints.

    Args:
        trainable: Model to train. Parameters that require no gradient now stay frozen.
        batches: Function from the number of the first batch to an iterator of batches. Batch i must not depend on the
            first. A step takes `grad_accumulation` batches.
        run: Run folder. Training continues from its checkpoint, if it has one.
        settings: Settings of the loop.
        device: Device for networks and batches.
        sample: Function from the networks (in eval mode, averaged where there is an average) and the step to an image.
            A failure is a warning.
        evaluate: Function from the networks and the step, like `sample`, to named metrics. A failure is a warning.
        evaluate_every: Steps between two evaluations; needs `evaluate`.
        best: Metric and direction that decide which checkpoint is the best.
        export: Function that writes the model folder, called with an empty folder at every checkpoint.
        on_epoch: Function called with the number of epochs done after each epoch's last step, before its checkpoint,
            and at most once per epoch in a session. For learning-rate schedules; the checkpoint holds the rate itself.
        events: Receiver of progress reports, which only rank 0 makes.
    """

    def __init__(
        self,
        trainable: Trainable[Batch, Shared],
        batches: Callable[[int], Iterator[Batch]],
        run: RunFolder,
        settings: LoopSettings,
        device: torch.device,
        *,
        sample: Callable[[Networks, int], Image.Image] | None = None,
        evaluate: Callable[[Networks, int], Mapping[str, float]] | None = None,
        evaluate_every: int | None = None,
        best: tuple[str, Literal["min", "max"]] | None = None,
        export: Callable[[Networks, Path, int], None] | None = None,
        on_epoch: Callable[[int], None] | None = None,
        events: Events | None = None,
    ) -> None:
        self.trainable = trainable
        self.batches = batches
        self.run_folder = run
        self.settings = settings
        self.device = torch.device(device)
        self.sample = sample
        self.evaluate = evaluate
        self.evaluate_every = evaluate_every
        self.best = best
        self.export = export
        self.on_epoch = on_epoch
        self.is_main = distributed.rank() == 0
        self.events = events if events and self.is_main else Events()

        networks = trainable.networks
        for network in networks.values():
            network.to(self.device)
            if settings.channels_last:
                network.to(memory_format=torch.channels_last)
        distributed.broadcast(networks.values())
        self.trained = {phase.name: phase.trained() for phase in trainable.phases}
        self.parameters = [p for network in networks.values() for p in network.parameters()]
        averaged = {} if settings.ema_decay is None else {name: networks[name] for name in trainable.averaged}
        self.averages = Averages(averaged, settings.ema_decay or 0.0, warmup=settings.ema_warmup)
        if settings.compile:
            compile_networks(trainable)
        if settings.activation_checkpointing:
            recompute_large_blocks(trainable)

        self.step = 0
        self.first_step = 0  # first step of this session
        self.saved_step: int | None = None  # step of the newest checkpoint
        self.images = 0  # images seen by all processes in all sessions
        self.seconds = 0.0  # training time of all sessions
        self.best_value: float | None = None
        self.best_step: int | None = None
        self.interval = _Interval()
        self.last: dict[str, float] = {}

    # --- the course of a run --------------------------------------------------------------------------------

    def run(self) -> LoopResult:
        """Train to the limit.

        Raises:
            RunError: A loss or gradient is not finite, a checkpoint is damaged, the disk is full, or torch cannot
                compile a network.
            LostProcess: Another rank has ended.
            UsageError: Another process, outside this group, is training the run.
            KeyboardInterrupt: Ctrl-C was pressed twice.
        """
        try:
            with ExitStack() as stack:
                if self.is_main:
                    stack.enter_context(self.run_folder.locked())
                stack.enter_context(_numerics(self.settings))
                if self.settings.compile:
                    stack.enter_context(compiled_networks_run())
                stop = stack.enter_context(_StopSignals())
                for phase in self.trainable.phases:
                    for network in phase.networks.values():
                        network.train()
                self._start()
                reason = self._train(stop)
                self._finish(reason)
        except distributed.LostProcess as error:
            good = self.run_folder.resume_point()
            raise distributed.LostProcess(
                f"{self.run_folder.path}: {error}, after step {self.step}",
                f"the last checkpoint is {good}; --resume continues from it" if good else None,
            ) from error
        interrupted = _SIGNALS[reason - _SIGNALLED] if reason >= _SIGNALLED else None
        text = f"stopped by {interrupted} at" if interrupted else "finished at"
        self.events.emit("end", f"{text} step {self.step}", step=self.step, interrupted=interrupted)
        return LoopResult(self.step, self.images, self.seconds, interrupted, self.last)

    def _start(self) -> None:
        """Restore the run's last checkpoint, or seed a fresh run."""
        seed_everything(self.settings.seed, 1 + distributed.rank())
        folder = distributed.from_main(self.run_folder.resume_point)
        if folder:
            self._restore(folder)
        if self.is_main:
            self.run_folder.record_environment(self.step)
            self.log_file = LogFile(self.run_folder.log, self.step)
            self.metrics_file = LogFile(self.run_folder.metrics, self.step)
        text = f"resumed from {folder}" if folder else "started"
        self.events.emit("start", text, step=self.step, run=str(self.run_folder.path))
        if not folder:
            self._sample()

    def _train(self, stop: _StopSignals) -> int:
        """Run steps until there is a reason to stop, and return that reason."""
        settings = self.settings
        started = time.monotonic() - self.seconds
        iterator = self.batches(self.step * settings.grad_accumulation)
        while True:
            began = time.monotonic()
            batches, reason = self._next_batches(iterator, stop)
            if reason := distributed.maximum(reason, self.device):  # all ranks stop at the same step
                return reason
            values = self._train_step([batch.to(self.device) for batch in batches])
            self.interval.add(values, time.monotonic() - began)
            self.step += 1
            self.images += settings.batch * distributed.world_size()
            self.seconds = time.monotonic() - started
            if self.on_epoch and self._due(settings.steps_per_epoch):
                self.on_epoch(self.step // settings.steps_per_epoch)
            if self._due(settings.log_every):
                self._log()
            if self._due(settings.sample_every):
                self._sample()
            improved = self._due(self.evaluate_every) and self._evaluate()
            if improved or self._due(settings.checkpoint_every):
                self._save(improved)
            self.seconds = time.monotonic() - started

    def _next_batches(self, iterator: Iterator[Batch], stop: _StopSignals) -> tuple[list[Batch], int]:
        """Return the batches of a step and 0, or no batches and this rank's reason to stop."""
        steps, minutes = self.settings.steps, self.settings.minutes
        if reason := stop.reason():
            return [], reason
        if steps is not None and self.step >= steps:
            return [], _AT_LIMIT
        if minutes is not None and self.seconds >= 60 * minutes:
            return [], _AT_LIMIT
        try:
            batches = list(itertools.islice(iterator, self.settings.grad_accumulation))
        except RuntimeError:
            # A signal to the whole process group kills the loader workers too: this is the requested stop.
            if reason := stop.reason():
                return [], reason
            raise
        whole = len(batches) == self.settings.grad_accumulation
        return (batches, 0) if whole else ([], _OUT_OF_BATCHES)

    def _finish(self, reason: int) -> None:
        """Report and save the last step, unless that has just happened. After a signal, there is only time to save."""
        if self.step == self.first_step:  # resumed at the limit, perhaps after a kill just before the export
            if self.is_main and not self.run_folder.model.exists():
                self._export(self.run_folder.model)
            return
        if self.interval.steps:
            self._log()
        improved = False
        if reason < _SIGNALLED:
            if not self._due(self.settings.sample_every):
                self._sample()
            if self.evaluate_every is not None and not self._due(self.evaluate_every):
                improved = self._evaluate()
        if improved or self.saved_step != self.step:
            self._save(improved)

    def _due(self, every: int | None) -> bool:
        return every is not None and self.step % every == 0

    # --- one step -------------------------------------------------------------------------------------------

    def _train_step(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Run every phase that is due and return the values of its terms by "phase.term"."""
        values: dict[str, float] = {}
        stepped: set[str] = set()
        begins = self._begins(batches)
        for phase in self.trainable.phases:
            if self.step % phase.interval == 0:
                values |= self._run_phase(phase, begins)
                stepped |= set(phase.networks)
        self.averages.update(stepped, self.step)
        return values

    def _begins(self, batches: Sequence[Batch]) -> list[Callable[[], Shared]]:
        """Return, for each batch, the function that gives a phase the result of `Trainable.begin`.

        For a single batch, all phases share one result. With several, `begin` runs again with the same random numbers.
        """
        if len(batches) == 1:
            train_only([p for trained in self.trained.values() for p in trained], self.parameters)
            with self._autocast():
                shared = self.trainable.begin(batches[0])
            return [lambda: shared]
        first_states: dict[int, RandomState] = {}  # before the first `begin` of each batch

        def begin(number: int) -> Shared:
            current = random_state()
            again = number in first_states
            set_random_state(first_states.setdefault(number, current))
            with self._autocast():
                shared = self.trainable.begin(batches[number])
            if again:
                set_random_state(current)
            return shared

        return [functools.partial(begin, number) for number in range(len(batches))]

    def _run_phase(self, phase: Phase[Shared], begins: Sequence[Callable[[], Shared]]) -> dict[str, float]:
        trained = self.trained[phase.name]
        train_only(trained, self.parameters)
        phase.optimizer.zero_grad(set_to_none=True)
        sums: torch.Tensor | None = None
        terms: dict[str, torch.Tensor] = {}
        for begin in begins:
            shared = begin()
            with self._autocast():
                terms = {name: term.float() for name, term in phase.loss(shared).items()}
            summed = torch.stack([term for name, term in terms.items() if name not in phase.watched]).sum()
            (summed / len(begins)).backward(inputs=trained)  # computes no other gradients of the graph
            del shared  # frees its graph before the next batch begins
            part = torch.stack([term.detach() for term in terms.values()]) / len(begins)
            sums = part if sums is None else sums + part
        assert sums is not None
        means = distributed.average_gradients(trained, sums)
        norm = get_total_norm([p.grad for p in trained if p.grad is not None])
        # One synchronization with the device per phase: losses and gradient are checked before any weight changes.
        *values, gradient = torch.cat([means, norm.to(means).reshape(1)]).tolist()
        named = {f"{phase.name}.{name}": value for name, value in zip(terms, values, strict=True)}
        for name, value in (*named.items(), (f"{phase.name}.gradient", gradient)):
            if not math.isfinite(value):
                raise self._diverged(name, value)
        for name, limit in phase.clip.items():
            clip_grad_norm_([p for p in phase.networks[name].parameters() if p.requires_grad], limit)
        phase.optimizer.step()
        return named

    def _diverged(self, name: str, value: float) -> RunError:
        phase, _, term = name.partition(".")
        what = "the gradient" if term == "gradient" else f"the loss term {term!r}"
        hint = "try a lower learning rate or precision float32"
        if good := self.run_folder.resume_point():
            hint = f"the last checkpoint is {good}; {hint}"
        problem = f"{what} of phase {phase!r} is {value} at step {self.step + 1}"
        return RunError(f"{self.run_folder.path}: {problem}", hint)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16")

    # --- what is written ------------------------------------------------------------------------------------

    def _log(self) -> None:
        """Write a row of log.csv and the progress line, over the steps since the last row."""
        settings = self.settings
        self.last, speed = self.interval.means(), self.interval.steps / max(self.interval.seconds, 1e-9)
        images_per_second = speed * settings.batch * distributed.world_size()
        memory = _memory_mb(self.device)
        self.interval = _Interval()
        if not self.is_main:
            return
        row = {"step": self.step, "images_seen": self.images, "seconds": self.seconds, **self.last}
        self.log_file.append(row | {"images_per_second": images_per_second, "memory_mb": memory})
        watched = {f"{phase.name}.{name}" for phase in self.trainable.phases for name in phase.watched}
        totals: dict[str, float] = {}
        for name, value in self.last.items():
            if name not in watched:
                phase = name.partition(".")[0]
                totals[phase] = totals.get(phase, 0.0) + value
        left = []
        if settings.steps is not None:
            left.append((settings.steps - self.step) / speed)
        if settings.minutes is not None:
            left.append(60 * settings.minutes - self.seconds)
        seconds_left = max(0.0, min(left)) if left else None
        epochs = self.step / settings.steps_per_epoch
        self.events.emit(
            "progress",
            progress_line(self.step, epochs, totals, images_per_second, seconds_left),
            **row,
            images_per_second=images_per_second,
            memory_mb=memory,
            seconds_left=seconds_left,
            steps=settings.steps,
        )

    @contextmanager
    def _showing(self) -> Iterator[Networks]:
        """Yield the networks in eval mode, then restore everything that the next training step depends on."""
        networks = {**self.trainable.networks, **self.averages.networks}
        modes = [(module, module.training) for network in networks.values() for module in network.modules()]
        state = random_state()
        try:
            for network in networks.values():
                network.eval()
            # Without compilation: the few calls in eval mode are not worth graphs of their own.
            eager = torch.compiler.set_stance("force_eager") if self.settings.compile else nullcontext()
            with eager, torch.no_grad():
                yield networks
        finally:
            for module, mode in modes:
                module.training = mode
            set_random_state(state)

    def _sample(self) -> None:
        if not self.sample or not self.is_main:
            return
        path = self.run_folder.samples / f"step-{self.step:07d}.png"
        try:
            with self._showing() as networks:
                image = self.sample(networks, self.step)
            path.parent.mkdir(exist_ok=True)
            with atomic_file(path) as temporary:
                image.save(temporary, format="png")
        except Exception as error:  # a failed image must not end the training
            self.events.emit("warning", f"no sample grid at step {self.step}: {error!r}", step=self.step)
        else:
            self.events.emit("sample", f"samples at {path}", step=self.step, file=str(path))

    def _evaluate(self) -> bool:
        """Write the metrics and return whether they are the best so far. All ranks get the metrics of rank 0."""

        def measure() -> dict[str, float]:
            try:
                assert self.evaluate is not None
                with self._showing() as networks:
                    return dict(self.evaluate(networks, self.step))
            except Exception as error:  # failed metrics must not end the training either
                self.events.emit("warning", f"no metrics at step {self.step}: {error!r}", step=self.step)
                return {}

        metrics = distributed.from_main(measure)
        if metrics and self.is_main:
            self.metrics_file.append({"step": self.step, "images_seen": self.images, **metrics})
            text = " · ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            self.events.emit("metrics", f"step {self.step} · {text}", step=self.step, **metrics)
        if not self.best or not math.isfinite(value := metrics.get(self.best[0], math.nan)):
            return False
        sign = 1 if self.best[1] == "max" else -1
        if self.best_value is not None and sign * value <= sign * self.best_value:
            return False
        self.best_value, self.best_step = value, self.step
        return True

    def _save(self, improved: bool) -> None:
        """Write a checkpoint and export the model."""
        networks = self.trainable.networks
        # Batch norm statistics differ between ranks, and a checkpoint holds those of one.
        distributed.broadcast(networks.values(), buffers_only=True)
        random_states = distributed.gather(random_state())
        self.saved_step = self.step
        if not self.is_main:
            return
        state = {
            "optimizers": {phase.name: phase.optimizer.state_dict() for phase in self.trainable.phases},
            "random": random_states,
            "images": self.images,
            "seconds": self.seconds,
            "best_value": self.best_value,
            "best_step": self.best_step,
            "interval": vars(self.interval),
            "last": self.last,
        }
        folder = self.run_folder.checkpoints / f"step-{self.step:08d}"
        averaged = tensors_of(self.averages.networks)
        write_checkpoint(folder, Checkpoint(self.step, tensors_of(networks), averaged, state))
        prune(folder.parent, newest=self.step, keep=self.settings.keep, best=self.best_step)
        self.events.emit("checkpoint", f"checkpoint {folder}", step=self.step, folder=str(folder))
        self._export(self.run_folder.model)
        if improved:
            self._export(self.run_folder.best_model)

    def _export(self, folder: Path) -> None:
        if export := self.export:
            with self._showing() as networks:
                self.run_folder.export(folder, lambda into: export(networks, into, self.step))

    def _restore(self, folder: Path) -> None:
        """Restore the state of a checkpoint."""
        checkpoint = read_checkpoint(folder)
        state = checkpoint.state
        load_tensors(self.trainable.networks, checkpoint.networks, folder / "networks.safetensors")
        load_tensors(self.averages.networks, checkpoint.averaged, folder / "averaged.safetensors")
        for phase in self.trainable.phases:
            phase.optimizer.load_state_dict(state["optimizers"][phase.name])
        self.step = self.first_step = self.saved_step = checkpoint.step
        self.seconds = state["seconds"]
        self.best_value, self.best_step = state["best_value"], state["best_step"]
        self.interval, self.last = _Interval(**state["interval"]), state["last"]
        self.images = state["images"]
        random_states, rank = state["random"], distributed.rank()
        if rank < len(random_states):
            set_random_state(random_states[rank])
        else:
            seed_everything(self.settings.seed, 1 + rank, self.step)
        before, now, batch = len(random_states), distributed.world_size(), self.settings.batch
        if before != now:
            self.events.emit(
                "warning",
                f"processes: {before} until step {self.step}, {now} from here on: a step takes {batch * now} images "
                f"instead of {batch * before}, and the bits are not those of an unbroken run",
                step=self.step,
                processes=now,
                processes_before=before,
            )


# Reasons to stop. The largest of all ranks counts, because a signal may have reached only one of them.
_AT_LIMIT, _OUT_OF_BATCHES, _SIGNALLED = 1, 2, 3
_SIGNALS = ("SIGTERM", "SIGUSR1", "SIGINT")


@dataclass
class _Interval:
    """Sums of the loss terms since the last row of log.csv, and the number of steps that had each term."""

    steps: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, terms: Mapping[str, float], seconds: float) -> None:
        self.steps += 1
        self.seconds += seconds
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        return {name: total / self.counts[name] for name, total in self.sums.items()}


class _StopSignals:
    """Context in which SIGINT, SIGTERM and SIGUSR1 are only recorded. A second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _StopSignals:
        if threading.current_thread() is threading.main_thread():  # no other thread can handle signals
            for name in _SIGNALS:
                self._previous[signal.Signals[name]] = signal.signal(signal.Signals[name], self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def reason(self) -> int:
        """Return the number of the received signal, from `_SIGNALLED` on; 0 for none."""
        return _SIGNALLED + _SIGNALS.index(self.received) if self.received else 0

    def _note(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if name == "SIGINT" and self.received == "SIGINT":
            raise KeyboardInterrupt
        self.received = name


@contextmanager
def _numerics(settings: LoopSettings) -> Iterator[None]:
    """Set torch's global numeric options for the settings, and restore them afterwards."""
    backends = torch.backends
    before = (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32, backends.cudnn.benchmark)
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    tf32 = settings.precision == "tf32"
    # cuDNN would use TF32 for "float32" convolutions by default.
    backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = tf32
    backends.cudnn.benchmark = not settings.deterministic  # every step has the same shapes
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required by cuBLAS
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32, backends.cudnn.benchmark = before
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


def _memory_mb(device: torch.device) -> float:
    """Return the peak memory so far in MiB: of tensors on a GPU, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere
