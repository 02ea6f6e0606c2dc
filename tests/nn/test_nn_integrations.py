"""The packages that people train with: torchmetrics, Lightning, TensorBoard, trackio."""

import math
import time

import pytest
from processes import together

torch = pytest.importorskip("torch")
pytest.importorskip("torchmetrics")

from torch import nn  # noqa: E402

import vqtheory as vq  # noqa: E402
from vqtheory.nn import Monitor, VectorQuantize  # noqa: E402
from vqtheory.nn.integrations.metrics import DeadCodes, Perplexity, Usage, codebook_metrics  # noqa: E402


class TestMetrics:
    def test_they_add_up_over_batches_and_forget_what_is_out_of_the_window(self):
        random = torch.Generator().manual_seed(0)
        batches = [torch.randint(-1, 6, (4, 5), generator=random) for _ in range(5)]
        for window, seen in ((None, batches), (2, batches[3:]), (9, batches)):
            metrics = codebook_metrics(8, window)
            values = [metrics(batch) for batch in batches]  # which gives the batch's own, and counts on
            indices = torch.cat(seen).ravel()
            hits = torch.bincount(indices[indices >= 0], minlength=8)
            share = hits[hits > 0] / hits.sum()
            ending = "since_reset" if window is None else f"of_last_{window}_updates"
            wanted = {"usage": float((hits > 0).float().mean()), "perplexity": math.exp(-(share * share.log()).sum())}
            wanted["dead_codes"] = int((hits == 0).sum())
            assert metrics.compute() == pytest.approx({f"{name}_{ending}": value for name, value in wanted.items()})
            assert values[-1][f"dead_codes_{ending}"] == 8 - len(batches[-1][batches[-1] >= 0].unique())
            metrics.reset()
            metrics.update(torch.full((3,), -1))  # no latent at all
            assert sorted(float(value) for value in metrics.compute().values()) == [0, 1, 8]

    def test_they_take_the_indices_of_the_layer(self):
        layer, usage = VectorQuantize(2, 8), Usage(8)
        output = layer(torch.randn(1, 30, 2))
        usage.update(output.indices)
        assert usage.compute() == output.info.usage
        assert (usage.counts() == output.info.hits).all()

    @pytest.mark.parametrize("indices", [torch.zeros(2), torch.tensor([4]), torch.tensor([-2]), [0], torch.tensor([True])])
    def test_other_indices_are_refused(self, indices):
        for kind in (Usage, Perplexity, DeadCodes):
            with pytest.raises(ValueError, match=f"of {kind.__name__} must be a tensor of integers from -1 to 3. Got"):
                kind(4).update(indices)
        with pytest.raises(ValueError, match="The 'window' parameter of Usage must be an int >= 1. Got 0."):
            Usage(4, window=0)

    def test_they_add_up_over_processes(self, tmp_path):
        script = """
        from vqtheory.nn.integrations.metrics import codebook_metrics
        for window, wanted in ((None, (0.75, 1)), (1, (0.5, 2))):
            metrics = codebook_metrics(4, window)
            metrics.update(torch.tensor([rank]))
            metrics.update(torch.tensor([2 * rank, 0]))
            values = {name.partition("_")[0]: float(value) for name, value in metrics.compute().items()}
            assert (values["usage"], values["dead"]) == wanted, values
        """
        together(script, tmp_path, (0, 2), (1, 2))


class TestTensorBoard:
    def test_its_event_file_has_the_rows_of_the_table(self, tmp_path):
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(tmp_path)) as writer:
            table = watched(writer).table
        events = EventAccumulator(str(tmp_path)).Reload()
        tags = events.Tags()["scalars"]
        assert sorted(tags) == sorted(f"model.1/{name}" for name in table.columns if name != "step")
        for tag in tags:
            rows = table.select("step", value=tag.removeprefix("model.1/")).drop_nulls()
            logged = events.Scalars(tag)
            assert [event.step for event in logged] == rows["step"].to_list()
            assert [event.value for event in logged] == pytest.approx(rows["value"].to_list(), rel=1e-6)  # float32 there


def test_trackio_has_the_rows_of_the_table(tmp_path, monkeypatch):
    """In its local store."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    trackio = pytest.importorskip(
        "trackio", reason="trackio is not installed: it does not go with the pins of constraints.txt"
    )
    run = trackio.init(project="vqtheory-test")
    table = watched(run).table
    trackio.finish()
    rows = trackio.Api().runs("vqtheory-test")[0].history()
    assert [row["model.1/used"] for row in rows] == table["used"].to_list()


def watched(log, updates=9, every=4):
    """A monitor of a small model whose encoder drifts."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), VectorQuantize(dim=2, codebook_size=4, rule="ema"))
    monitor = Monitor(model[1], every=every, log=log)
    for _ in range(updates):
        batch = torch.rand(2, 5, 3)
        model(batch)
        model[0].bias.data += 0.1
        monitor.step(model, batch)
    return monitor


def test_an_update_without_a_probe_costs_under_a_millisecond():
    """The least of many, on the faces' own sizes: 1,024 latents of 16 dimensions, 512 codes."""

    class Run:
        def log(self, scalars, step):
            raise AssertionError("it is no time for a probe")

    layer, latents = VectorQuantize(16, 512, "ema"), torch.randn(1, 1024, 16)
    layer(latents)

    def cost():
        times = []
        for _ in range(30):
            began = time.perf_counter()
            layer(latents)
            if monitor is not None:
                monitor.step(layer, latents)
            times.append(time.perf_counter() - began)
        return min(times)

    monitor = None
    without = cost()
    monitor = Monitor(layer, every=1000)
    monitor.step(layer, latents)
    monitor._log = Run().log
    assert cost() - without < 1e-3


lightning = pytest.importorskip("pytorch_lightning")

from vqtheory.nn.integrations.lightning import CodebookCallback  # noqa: E402


class Model(lightning.LightningModule):
    """An encoder that drifts, and quantizers of latents [b, n, 2]."""

    def __init__(self, levels=1):
        super().__init__()
        self.encoder = nn.Linear(3, 2)
        self.levels = nn.ModuleList(VectorQuantize(2, 8, "vq") for _ in range(levels))

    def forward(self, batch):
        latents = self.encoder(batch)
        return [level(latents) for level in self.levels]

    def training_step(self, batch, batch_idx):
        outputs = self(batch[0])
        self.encoder.bias.data += 0.01
        return sum(output.loss for output in outputs)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Log(lightning.loggers.logger.Logger):
    """Keeps what it is given."""

    name, version = "log", 0

    def __init__(self):
        super().__init__()
        self.rows = {}

    def log_metrics(self, metrics, step=None):
        self.rows.setdefault(step, {}).update({name: value for name, value in metrics.items() if name != "epoch"})

    def log_hyperparams(self, params, *args, **kwargs):
        pass


def fitted(callback, folder, levels=1, resume=None, epochs=2, log=False, **options):
    torch.manual_seed(0)
    model, images = Model(levels), torch.rand(16, 5, 3, generator=torch.Generator().manual_seed(0))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images), batch_size=4)
    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "logger": log,
        "log_every_n_steps": 1,
    }
    trainer = lightning.Trainer(
        max_epochs=epochs, callbacks=[callback], default_root_dir=folder, enable_checkpointing=False, **quiet, **options
    )
    trainer.fit(model, loader, ckpt_path=resume)
    return trainer


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers", "ignore:.*`isinstance.treespec")
class TestLightning:
    def test_it_is_a_monitor_in_a_loop(self, tmp_path):
        """The recording of the same loop by hand; the loggers have the table."""
        callback, log = CodebookCallback(lambda model: model.levels[0], every=3), Log()
        fitted(callback, tmp_path, log=log)
        table = callback.monitor.table
        assert table["step"].to_list() == [1, 4, 7]
        assert {step: row["model.levels.0/used"] for step, row in log.rows.items()} == dict(
            table.select("step", "used").rows()
        )
        assert vq.diagnose(callback.monitor).recording.optimizer == "sgd"
        torch.manual_seed(0)
        model, images = Model(), torch.rand(16, 5, 3, generator=torch.Generator().manual_seed(0))
        optimizer = model.configure_optimizers()
        monitor = Monitor(model.levels[0], every=3, optimizer=optimizer)
        for batch in 2 * images.split(4):  # two epochs
            optimizer.zero_grad()
            model.training_step([batch], 0).backward()
            optimizer.step()
            monitor.step(model, batch)
        assert monitor.recording.contents() == callback.monitor.recording.contents()

    @pytest.mark.parametrize("levels", [1, 2])
    def test_a_probe_that_is_not_finite_is_another_batch(self, levels, tmp_path):
        bad = iter([torch.full((4, 5, 3), torch.nan)])
        callback = CodebookCallback(every=2, inputs=lambda batch: next(bad, batch[0]))
        fitted(callback, tmp_path, levels)
        assert callback.monitor.table["step"].to_list() == [3, 5, 7] * levels

    def test_accumulated_gradients_are_one_update(self, tmp_path):
        callback = CodebookCallback(every=1)
        fitted(callback, tmp_path, levels=2, epochs=3, accumulate_grad_batches=4)
        assert callback.monitor.names == ["model.levels.0", "model.levels.1"]
        recordings = callback.monitor.recordings.values()
        assert [recording.steps.tolist() for recording in recordings] == [[1, 2, 3]] * 2
        assert [recording.hits[1:].sum(axis=1).tolist() for recording in recordings] == [[80, 80]] * 2  # 4 batches of 4 x 5

    @pytest.mark.parametrize("levels", [1, 2])
    def test_a_fit_that_goes_on_from_a_checkpoint_is_one_fit(self, levels, tmp_path):
        def seen(callback):
            monitors = [callback.monitor] if levels == 1 else [callback.monitor[name] for name in callback.monitor.names]
            return [monitor.table for monitor in monitors]

        def new():
            return CodebookCallback((lambda model: model.levels[0]) if levels == 1 else None, every=2)

        whole, first, second = new(), new(), new()
        fitted(whole, tmp_path, levels)
        trainer = fitted(first, tmp_path, levels, epochs=1)
        trainer.save_checkpoint(tmp_path / "half.ckpt")
        fitted(second, tmp_path, levels, resume=tmp_path / "half.ckpt")
        for table, wanted in zip(seen(second), seen(whole), strict=True):
            assert table["step"].to_list() == [1, 3, 5, 7]
            assert table.equals(wanted)

    def test_what_it_refuses(self, tmp_path):
        with pytest.raises(
            ValueError, match="The 'quantizer' parameter of CodebookCallback must be a function. Got VectorQ"
        ):
            CodebookCallback(VectorQuantize(2, 4))
        with pytest.raises(ValueError, match="CodebookCallback has seen nothing yet"):
            _ = CodebookCallback().monitor
        assert CodebookCallback().state_dict() == {}
