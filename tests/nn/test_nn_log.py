"""The log of a Monitor: the rows of its table, by step, in whatever keeps them."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from vqtheory.nn import Monitor, Transport, VectorQuantize  # noqa: E402


class Run:
    """As of trackio and wandb."""

    def __init__(self):
        self.rows = {}

    def log(self, metrics, step=None):
        self.rows.setdefault(step, {}).update(metrics)


class Writer(Run):
    """As of TensorBoard."""

    log = None

    def add_scalar(self, tag, scalar_value, global_step=None):
        self.rows.setdefault(global_step, {})[tag] = scalar_value


def watched(log, updates=7, transport=False):
    """A monitor of a small model whose encoder drifts."""
    torch.manual_seed(0)
    encoder, layer = nn.Linear(3, 2), VectorQuantize(dim=2, codebook_size=4)
    model = nn.Sequential(encoder, layer)
    optimizer = torch.optim.SGD(layer.codebook_parameters(), lr=0.5)
    carried = Transport(layer, encoder, torch.rand(8, 3)) if transport else None
    monitor = Monitor(layer, every=2, optimizer=optimizer, transport=carried, log=log)
    for _ in range(updates):
        batch = torch.rand(2, 5, 3)
        optimizer.zero_grad()
        model(batch)[2].backward()
        optimizer.step()
        with torch.no_grad():
            encoder.bias += 0.1
        if transport:
            carried.step()
            monitor.step()
        else:
            monitor.step(model, batch)
    return monitor


@pytest.mark.parametrize("kind", [Run, Writer])
@pytest.mark.parametrize(("transport", "place"), [(False, "model.1"), (True, "codebook")])
def test_every_probe_is_a_row_of_the_table(kind, transport, place):
    log = kind()
    table = watched(log, transport=transport).table
    assert list(log.rows) == [1, 3, 5, 7]  # between probes nothing is logged
    for row in table.iter_rows(named=True):
        wanted = {f"{place}/{name}": value for name, value in row.items() if name != "step" and value is not None}
        assert log.rows[row["step"]] == pytest.approx(wanted, rel=1e-12)
        assert all(type(value) is float for value in log.rows[row["step"]].values())
    assert f"{place}/speed" not in log.rows[1]
    assert log.rows[7][f"{place}/speed"] == pytest.approx(0.1 * 2**0.5, rel=1e-5)


def test_a_log_changes_nothing_of_what_is_seen():
    assert watched(Run()).recording.contents() == watched(None).recording.contents()


@pytest.mark.parametrize("log", [print, "run", Run, {}], ids=str)
def test_what_keeps_no_numbers_is_refused(log):
    sentence = r"The 'log' parameter of Monitor must be a run with log\(dict, step=\), as of trackio or wandb"
    with pytest.raises(ValueError, match=sentence):
        Monitor(VectorQuantize(dim=2, codebook_size=4), log=log)
