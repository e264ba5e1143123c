"""The training loop: phases in order, averages, log, sample grids, checkpoints, and a clean stop.

Everything that the next step depends on is in the checkpoint, and batches are a function of the step, so a
run that is killed and resumed takes the same course, bit for bit on the CPU, as one that was never stopped.
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
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

import torch
from PIL import Image
from torch import nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

from gancli.atomic import atomic_file
from gancli.engine import distributed
from gancli.engine.checkpoint import (
    Checkpoint,
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
from gancli.engine.phases import Phase, Trainable, train_only
from gancli.engine.recompute import recompute_large_blocks
from gancli.errors import RunError

Networks = Mapping[str, nn.Module]


class MovableBatch(Protocol):
    """What the engine needs of a batch."""

    def to(self, device: torch.device) -> Any:
        """The batch on another device."""


@dataclass(frozen=True)
class LoopSettings:
    """How long and how a loop trains.

    Attributes:
        steps: Step to stop after, counted from the start of the run; None for no such limit.
        minutes: Wall-clock minutes of the run to stop after, summed over its sessions; None for no such
            limit.
        log_every: Steps between two rows of log.csv.
        sample_every: Steps between two sample grids.
        checkpoint_every: Steps between two checkpoints.
        keep: Checkpoints kept besides the best.
        precision: "tf32" lets CUDA round factors of float32 products; "bf16" runs `begin` and losses under
            autocast.
        channels_last: Memory format of 4-D weights.
        compile: Compile the networks in place, as far as torch can; they run uncompiled while somebody looks at them.
        activation_checkpointing: Run large blocks again in the backward pass instead of keeping what they computed.
        deterministic: Only kernels that repeat exactly.
        seed: Of every random number generator; each process draws its own numbers from it.
        ema_decay: Of the averaged weights; None averages nothing.
        steps_per_epoch: For `on_epoch` and the progress line.
        batch: Images per step and process, all its batches together.
        grad_accumulation: Batches that a step takes one after the other, averaging their gradients. With more than one,
            `begin` looks at each batch anew in each phase, with the same random numbers, so that memory never holds
            more than one batch's graph of one phase.
    """

    steps: int | None = None
    minutes: float | None = None
    log_every: int = 50
    sample_every: int = 1000
    checkpoint_every: int = 1000
    keep: int = 3
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    channels_last: bool = True
    compile: bool = False
    activation_checkpointing: bool = False
    deterministic: bool = False
    seed: int = 0
    ema_decay: float | None = 0.999
    steps_per_epoch: int = 1
    batch: int = 1
    grad_accumulation: int = 1


@dataclass(frozen=True)
class LoopResult:
    """How a loop ended.

    Attributes:
        step: Steps done, all sessions together.
        images: Images seen, all sessions together.
        seconds: Time trained, all sessions together.
        interrupted: Name of the signal that stopped it, or None.
        last: Means of the loss terms since the last logged row, or of that row, by "phase.term".
    """

    step: int
    images: int
    seconds: float
    interrupted: str | None
    last: Mapping[str, float]

    @property
    def exit_code(self) -> int:
        """0, or 130 after Ctrl-C, 143 after SIGTERM or SIGUSR1."""
        return 0 if self.interrupted is None else 130 if self.interrupted == "SIGINT" else 143


class Loop:
    """Trains a model until a limit or a signal; resumes from the run folder's checkpoints by itself.

    Args:
        trainable: The model. Parameters that require no gradient now are never trained.
        batches: From the number of the batch to start at to an iterator of batches; batch i must not depend on
            where it started. A step takes `grad_accumulation` of them.
        run: Where everything is written. If it holds a checkpoint, training continues from it.
        settings: See LoopSettings.
        device: Networks and batches are moved there.
        sample: From the networks in eval mode (averaged where there is an average) and the step to an image.
        evaluate: From the same to named metrics; a failure is a warning, as it is of `sample`.
        evaluate_every: Steps between two evaluations; needs `evaluate`.
        best: Metric and direction by which the best checkpoint is kept.
        export: Writes the portable folder; called at every checkpoint with an empty folder.
        on_epoch: Called with the number of epochs done after each epoch's last step, before its checkpoint,
            in every session at most once per epoch (learning-rate schedule; the rate itself is in the
            checkpoint).
        events: Where progress is reported; only process 0 reports.
    """

    def __init__(
        self,
        trainable: Trainable,
        batches: Callable[[int], Iterator[Any]],
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
        self.averages = Averages(averaged, settings.ema_decay or 0.0)
        if settings.compile:
            compile_networks(trainable)
        if settings.activation_checkpointing:
            recompute_large_blocks(trainable)

        self.step = 0
        self.first_step = 0  # of this session
        self.saved_step: int | None = None  # of the newest checkpoint
        self.images = 0  # seen, by all processes of all sessions
        self.seconds = 0.0  # of earlier sessions
        self.best_value: float | None = None
        self.best_step: int | None = None
        self.interval = _Interval()
        self.last: dict[str, float] = {}

    # --- the course of a run --------------------------------------------------------------------------------

    def run(self) -> LoopResult:
        """Trains to the limit.

        Raises:
            RunError: A loss or gradient is no finite number, a checkpoint is damaged, the disk is full, or torch cannot
                compile a network.
            LostProcess: Another process of the run has ended.
            UsageError: A process that is none of this run's is training it.
            KeyboardInterrupt: A second Ctrl-C.
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
        """Restores the run's last checkpoint, or seeds a fresh run."""
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
        """Steps until there is a reason to stop, which is returned."""
        settings = self.settings
        started = time.monotonic() - self.seconds
        iterator = self.batches(self.step * settings.grad_accumulation)
        while True:
            began = time.monotonic()
            batches, reason = self._next_batches(iterator, stop)
            if reason := distributed.maximum(reason, self.device):  # all processes stop at the same step
                return reason
            values = self._train_step([batch.to(self.device) for batch in batches])
            self.interval.add(values, time.monotonic() - began)
            self.step += 1
            self.images += settings.batch * distributed.world()
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

    def _next_batches(self, iterator: Iterator[Any], stop: _StopSignals) -> tuple[list[Any], int]:
        """The batches of a step and 0, or none and this process's reason to stop."""
        steps, minutes = self.settings.steps, self.settings.minutes
        if reason := stop.reason():
            return [], reason
        if (steps is not None and self.step >= steps) or (
            minutes is not None and self.seconds >= 60 * minutes
        ):
            return [], _AT_LIMIT
        try:
            batches = list(itertools.islice(iterator, self.settings.grad_accumulation))
        except RuntimeError:
            # A signal to the whole process group kills loader workers too: that is the stop asked for.
            if reason := stop.reason():
                return [], reason
            raise
        whole = len(batches) == self.settings.grad_accumulation
        return (batches, 0) if whole else ([], _OUT_OF_BATCHES)

    def _finish(self, reason: int) -> None:
        """Reports and saves the last step, as far as it was not due anyway; a signal leaves time to save only."""
        if self.step == self.first_step:  # resumed at its limit, perhaps after a kill just before the export
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

    def _train_step(self, batches: Sequence[Any]) -> dict[str, float]:
        """Runs every phase that is due; the values of its terms by "phase.term"."""
        values: dict[str, float] = {}
        stepped: set[str] = set()
        looks = self._looks(batches)
        for phase in self.trainable.phases:
            if self.step % phase.interval == 0:
                values |= self._run_phase(phase, looks)
                stepped |= set(phase.networks)
        self.averages.update(stepped)
        return values

    def _looks(self, batches: Sequence[Any]) -> list[Callable[[], Any]]:
        """What gives a phase that which all phases share of each batch: `begin`, called once or, of several, again."""
        if len(batches) == 1:
            train_only([p for trained in self.trained.values() for p in trained], self.parameters)
            with self._autocast():
                shared = self.trainable.begin(batches[0])
            return [lambda: shared]
        first_states: dict[int, Any] = {}  # of the random numbers, before each batch was looked at first

        def look(number: int) -> Any:
            here = random_state()
            again = number in first_states
            set_random_state(first_states.setdefault(number, here))
            with self._autocast():
                shared = self.trainable.begin(batches[number])
            if again:
                set_random_state(here)
            return shared

        return [functools.partial(look, number) for number in range(len(batches))]

    def _run_phase(self, phase: Phase, looks: Sequence[Callable[[], Any]]) -> dict[str, float]:
        trained = self.trained[phase.name]
        train_only(trained, self.parameters)
        phase.optimizer.zero_grad(set_to_none=True)
        sums: torch.Tensor | None = None
        terms: dict[str, torch.Tensor] = {}
        for look in looks:
            shared = look()
            with self._autocast():
                terms = {name: term.float() for name, term in phase.loss(shared).items()}
            summed = torch.stack([term for name, term in terms.items() if name not in phase.watched]).sum()
            (summed / len(looks)).backward(inputs=trained)  # and by nothing else that the graph leads to
            del shared  # with what it keeps for other phases, before the next batch is looked at
            part = torch.stack([term.detach() for term in terms.values()]) / len(looks)
            sums = part if sums is None else sums + part
        assert sums is not None
        means = distributed.average_gradients(trained, sums)
        norm = get_total_norm([p.grad for p in trained if p.grad is not None])
        # One wait for the device per phase: loss terms and gradient are checked before any weight is touched.
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
        good = self.run_folder.resume_point()
        return RunError(
            f"{self.run_folder.path}: {what} of phase {phase!r} is {value} at step {self.step + 1}",
            f"the last checkpoint is {good}; " * bool(good)
            + "try a lower learning rate or precision float32",
        )

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16")

    # --- what is written ------------------------------------------------------------------------------------

    def _log(self) -> None:
        """A row of log.csv and the progress line, over the steps since the last."""
        settings = self.settings
        self.last, speed = self.interval.means(), self.interval.steps / max(self.interval.seconds, 1e-9)
        images_per_second = speed * settings.batch * distributed.world()
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
        """The networks to look at, in eval mode; training goes on afterwards as if nobody had looked."""
        networks = {**self.trainable.networks, **self.averages.networks}
        modes = [(module, module.training) for network in networks.values() for module in network.modules()]
        state = random_state()
        try:
            for network in networks.values():
                network.eval()
            with self._uncompiled(), torch.no_grad():
                yield networks
        finally:
            for module, mode in modes:
                module.training = mode
            set_random_state(state)

    def _uncompiled(self) -> AbstractContextManager[None]:
        """Other batch sizes in eval mode, a few times per run: not worth a graph of their own."""
        return torch.compiler.set_stance("force_eager") if self.settings.compile else nullcontext()

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
        except Exception as error:  # whatever is wrong with an image, the training is worth more
            self.events.emit("warning", f"no sample grid at step {self.step}: {error!r}", step=self.step)
        else:
            self.events.emit("sample", f"samples at {path}", step=self.step, file=str(path))

    def _evaluate(self) -> bool:
        """Measures; whether this is the best value so far. Every process gets process 0's metrics."""

        def measure() -> dict[str, float]:
            try:
                assert self.evaluate is not None
                with self._showing() as networks:
                    return dict(self.evaluate(networks, self.step))
            except Exception as error:  # as for an image
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
        """Writes a checkpoint and exports the model."""
        networks = self.trainable.networks
        # Batch norm statistics differ between processes; a resumed run could only restore one of them.
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
            "interval": self.interval.state(),
            "last": self.last,
        }
        folder = self.run_folder.checkpoints / f"step-{self.step:08d}"
        write_checkpoint(
            folder, Checkpoint(self.step, tensors_of(networks), tensors_of(self.averages.networks), state)
        )
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
        """Puts everything back to where the checkpoint was written."""
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
        random_states, rank, world = state["random"], distributed.rank(), distributed.world()
        # checkpoints of earlier versions have no such count: they were resumed by as many processes only
        self.images = state.get("images", checkpoint.step * self.settings.batch * len(random_states))
        if rank < len(random_states):
            set_random_state(random_states[rank])
        else:
            seed_everything(self.settings.seed, 1 + rank, checkpoint.step)
        if len(random_states) != world:
            batches = [self.settings.batch * processes for processes in (len(random_states), world)]
            self.events.emit(
                "warning",
                f"processes: {len(random_states)} until step {checkpoint.step}, {world} from here on: a step takes "
                f"{batches[1]} images instead of {batches[0]}, and the bits are not those of an unbroken run",
                step=checkpoint.step,
                processes=world,
                processes_before=len(random_states),
            )


# Reasons to stop; the largest of all processes counts, for a signal may have reached one of them only
_AT_LIMIT, _OUT_OF_BATCHES, _SIGNALLED = 1, 2, 3
_SIGNALS = ("SIGTERM", "SIGUSR1", "SIGINT")


@dataclass
class _Interval:
    """Sums of the loss terms over the steps since the last log row; a term counts the steps it took part in."""

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

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "seconds": self.seconds, "sums": self.sums, "counts": self.counts}


class _StopSignals:
    """While active, SIGINT, SIGTERM and SIGUSR1 are only noted; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _StopSignals:
        if threading.current_thread() is threading.main_thread():  # signals can be handled nowhere else
            for name in _SIGNALS:
                self._previous[signal.Signals[name]] = signal.signal(signal.Signals[name], self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def reason(self) -> int:
        """By which signal to stop, from _SIGNALLED on; 0 for none."""
        return _SIGNALLED + _SIGNALS.index(self.received) if self.received else 0

    def _note(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if name == "SIGINT" and self.received == "SIGINT":
            raise KeyboardInterrupt
        self.received = name


@contextmanager
def _numerics(settings: LoopSettings) -> Iterator[None]:
    """Sets torch's global switches as the settings ask, and puts them back afterwards."""
    backends = torch.backends
    before = (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32, backends.cudnn.benchmark)
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    tf32 = settings.precision == "tf32"
    # cuDNN would use TF32 for "float32" convolutions by default.
    backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = tf32
    backends.cudnn.benchmark = not settings.deterministic  # every step has the same shapes
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS insists on it
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32, backends.cudnn.benchmark = before
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


def _memory_mb(device: torch.device) -> float:
    """Most memory used so far: of the GPU by tensors, otherwise of the process; MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere
