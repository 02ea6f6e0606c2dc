"""The layer in other people's training: overflow, checkpoints, averages, precision, empty batches, layouts, processes."""

import copy
import io

import numpy as np
import pytest
import table

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.func import functional_call, grad  # noqa: E402
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from vqtheory.assign import nearest  # noqa: E402
from vqtheory.nn import TamingQuantizer, VectorQuantize  # noqa: E402
from vqtheory.nn.codebooks import Codebook  # noqa: E402
from vqtheory.nn.estimators import ESTIMATORS  # noqa: E402
from vqtheory.nn.ops import processes  # noqa: E402
from vqtheory.nn.ops.search import assign  # noqa: E402
from vqtheory.rules import CVQ, EMA, FSCL, NSVQ, Conscience, Wasserstein  # noqa: E402
from vqtheory.schedules import exponential  # noqa: E402

RULES = [*table.PLAIN_LAYER, NSVQ(form="softmax"), NSVQ(form="propagate"), EMA(0.3, smoothing=1e-5)]
every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)
MOVED = [rule for rule in RULES if isinstance(rule, EMA)] + [NSVQ(), NSVQ(form="propagate"), CVQ()]
MOVED += [rule for rule in RULES if isinstance(rule, Wasserstein)]  # at once; the other wrappers later
HALVES = (torch.bfloat16, torch.float16)
PRECISIONS = [(one, one) for one in HALVES] + [(torch.float32, one) for one in (*HALVES, torch.float64)]
PRECISIONS += [(torch.float64, torch.float64), (torch.float64, torch.float16), (torch.bfloat16, torch.float32)]
DYNAMO = "ignore:.*autograd.function.Function.* should not be instantiated:DeprecationWarning"


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def started(rule, **options):
    if not isinstance(rule, str) and Codebook.of(type(rule)).soft:
        options.pop("estimator", None)  # it takes none
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = VectorQuantize(4, 8, rule, **options)
    layer.initialize(randn(50, layer.codebook_dim))
    return layer


def assert_same_state(one, other, atol=1e-6):
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=atol, msg=name)


class TestOverflow:
    @every_rule
    @pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30])
    def test_latents_without_a_finite_length_are_as_if_absent(self, rule, value):
        """One of their numbers, or all: the same codes, sums, hits, loss and gradients as without these latents."""
        layer, d = started(rule), 0.1 * randn(1, 20, 4, seed=2)
        for bad in ([3, 7], range(20)):
            z, keep, alone = randn(1, 20, 4, seed=1), torch.ones(20, dtype=torch.bool), copy.deepcopy(layer)
            keep[list(bad)] = False
            z[0, ~keep, 1] = value
            output = layer(z.requires_grad_(), displacement=d)
            wanted = alone(z.detach()[:, keep], displacement=d[:, keep])
            assert torch.equal(output.indices[0, keep], wanted.indices[0])
            assert bool((output.indices[0, ~keep] == -1).all())
            assert torch.equal(output.info.hits, wanted.info.hits)
            assert torch.equal(output.quantized[0, ~keep], z[0, ~keep]) or np.isnan(value)
            torch.testing.assert_close((output.loss, output.info.distortion), (wanted.loss, wanted.info.distortion))
            assert_same_state(alone, layer)
            for one, other in zip(gradients(layer, output.loss), gradients(alone, wanted.loss), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)

    def test_the_start_and_the_moves_of_latents(self):
        """A start takes finite latents; a move that is not finite moves nothing."""
        layer, z = VectorQuantize(4, 8), randn(1, 30, 4)
        z[0, :20] = torch.inf
        layer(z)
        assert all(bool((code == z[0, 20:]).all(dim=1).any()) for code in layer.codebook)
        layer = started(NSVQ(form="propagate"))
        layer(randn(1, 9, 4), displacement=torch.full((1, 9, 4), torch.nan))
        assert bool(layer.codebook.isfinite().all())

    def test_masked_latents_stay_and_what_stands_there_reaches_no_gradient(self):
        layer = VectorQuantize(8, 16, codebook_dim=4)
        layer.initialize(randn(50, 4))
        z, mask = randn(1, 6, 8), torch.arange(6)[None] < 4
        assert torch.equal(layer(z, mask=mask).quantized[~mask], z[~mask])
        z[:, 4:] = torch.nan
        output = layer(z.requires_grad_(), mask=mask)
        (output.loss + output.quantized[mask].sum()).backward()
        assert all(bool(parameter.grad.isfinite().all()) for parameter in layer.parameters())
        assert bool(z.grad.isfinite().all())


def gradients(layer, loss):
    parameters = layer.codebook_parameters()
    return torch.autograd.grad(loss, parameters) if parameters else ()


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("rule", [FSCL(), Conscience(decay=0.9999)], ids=repr)
def test_what_codes_have_won_keeps_its_digits(rule, half):
    """One win beside thousands, and a share that moves by 1e-4 of itself."""
    layer, z = started(rule).to(half), 4 * randn(1, 4096, 4).to(half)
    before = float(layer._codebook.won.sum())
    layer(z)
    then = layer._codebook.won.clone()
    layer(z[:, :1])
    layer.load_state_dict(layer.state_dict())
    won = layer._codebook.won
    assert won.dtype == layer.codebook.dtype == torch.float32
    assert int((won != then).sum()) == (1 if isinstance(rule, FSCL) else 8)
    assert float(won.sum()) == pytest.approx(before + (4097 if isinstance(rule, FSCL) else 0), abs=1e-6)


def test_dead_codes_may_be_anywhere():
    """One, half of them, beside latents as far; clouds far from each other; codes near overflow or not finite."""
    for dim, num_codes in ((1, 40), (8, 64), (64, 128)):
        for far in (1e3, 1e6, 1e10, 3e38):
            codes, x = randn(num_codes, dim), randn(1000, dim, seed=1)
            codes[0] = far
            assert_nearest(x, codes)
            codes[: num_codes // 2] = min(far, 1e12) * randn(num_codes // 2, dim, seed=3)
            x[500:502] = min(far, 1e12)
            assert_nearest(x, codes)
        codes, x = randn(num_codes, dim), randn(1000, dim, seed=1)
        codes[::2], x[::2] = codes[::2] + 1e4, x[::2] + 1e4
        assert_nearest(x, codes)
    codes[3], codes[6] = torch.nan, torch.inf
    assert not {3, 6} & set(assign(x, codes).tolist())


def assert_nearest(x, codes):
    """The simulator's, or one as near in double precision."""
    indices, wanted = assign(x, codes).numpy(), nearest(x.numpy(), codes.numpy())[0]
    x, codes = x.double().numpy(), codes.double().numpy()
    own, best = (((x - codes[chosen]) ** 2).sum(axis=1) for chosen in (indices, wanted))
    assert np.mean(indices != wanted) <= 5e-3  # ties in float32
    np.testing.assert_allclose(own, best, rtol=1e-6)


class TestCheckpointing:
    @every_rule
    @pytest.mark.parametrize("reentrant", [False, True])
    @pytest.mark.parametrize("estimator", ["straight-through", "rotation"])
    def test_changes_nothing(self, rule, reentrant, estimator):
        layer, results = started(rule, estimator=estimator, codebook_dim=3), []
        for again in (False, True):
            own, z = copy.deepcopy(layer), randn(2, 20, 4, seed=3).requires_grad_()
            call = lambda z, own=own: own(z, displacement=0.1 * randn(2, 20, 4, seed=4))  # noqa: E731
            output = checkpoint(call, z, use_reentrant=reentrant) if again else call(z)
            (output[2] + output[0].square().sum()).backward()
            grads = [parameter.grad for parameter in own.parameters() if parameter.grad is not None]
            results.append([z.grad, *own.state_dict().values(), *grads])
        assert all(torch.equal(*pair) for pair in zip(*results, strict=True))

    def test_passes_before_their_backward_passes(self):
        """Two are told apart by their latents; more than are remembered are refused."""
        layer, results = started(EMA(0.3), estimator="rotation"), []
        for call in (plain := copy.deepcopy(layer), lambda z: checkpoint(layer, z, use_reentrant=False)):
            latents = [randn(2, 20, 4, seed=seed).requires_grad_() for seed in (3, 5)]
            sum(call(z).quantized.square().sum() for z in latents).backward()
            results.append([z.grad for z in latents])
        assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
        assert int(plain.step) == int(layer.step) == 2
        many = [checkpoint(layer, randn(1, 9, 4, seed=i).requires_grad_(), use_reentrant=False) for i in range(6)]
        with pytest.raises(RuntimeError, match="not among its last 4"):
            many[0].quantized.square().sum().backward()

    @pytest.mark.filterwarnings(DYNAMO)
    @pytest.mark.parametrize("rule", [EMA(0.3), NSVQ(bandwidth=exponential(1.0, half_life=9)), "vq"], ids=repr)
    def test_compiled_it_counts_once_or_is_refused(self, rule):
        torch.compiler.reset()
        layer = started(rule, estimator="rotation")
        call = torch.compile(layer, backend="eager")
        output = checkpoint(call, randn(2, 9, 4).requires_grad_(), use_reentrant=False)
        if rule == "vq":
            output.quantized.square().sum().backward()
            assert int(layer.step) == 1
        else:
            with pytest.raises(RuntimeError, match="cannot be run again by activation checkpointing"):
                output.quantized.square().sum().backward()


class TestStart:
    @pytest.mark.parametrize("rule", ["vq", "ema", "simvq", NSVQ(form="propagate")], ids=str)
    def test_averages_of_weights_are_not_started_again(self, rule):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm, self.quantize = nn.BatchNorm1d(4), VectorQuantize(4, 8, rule)

            def forward(self, x):
                return self.quantize(self.norm(x.flatten(0, 1)).reshape(x.shape), displacement=torch.zeros_like(x))

        for options in ({}, {"use_buffers": True}, {"multi_avg_fn": get_ema_multi_avg_fn(0.9), "use_buffers": True}):
            net = Net()
            mean = AveragedModel(net, **options)
            net(randn(2, 50, 4))
            for _ in range(2):
                mean.update_parameters(net)
            mean.module.quantize.requires_grad_(False)
            codes = mean.module.quantize.codebook.clone()
            update_bn([randn(2, 50, 4, seed=9)], mean)
            assert torch.equal(mean.module.quantize.codebook, codes)
            assert bool(mean.module.quantize.started > 0)

    @pytest.mark.parametrize("rule", ["vq", "ema", "nsvq", "cosine"])
    def test_codes_that_were_read_or_set_stay_in_their_order(self, rule):
        codes = nn.functional.normalize(randn(8, 4, seed=4), dim=1)
        layers = [VectorQuantize(4, 8, rule) for _ in range(3)]
        layers[0].load_state_dict({"_codebook.weight": codes}, strict=False)
        layers[1].set_codebook(codes)
        layers[2]._codebook.weight.data.copy_(codes)
        for layer in layers[:2] if rule == "ema" else layers:
            layer.requires_grad_(False)
            layer(randn(2, 50, 4))
            torch.testing.assert_close(layer.codebook, codes, rtol=0, atol=1e-6)
            layer.requires_grad_()
            layer(codes[None])  # each on its code, where it stays
            torch.testing.assert_close(layer.codebook, codes, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("rule", ["vq", "cosine"])
    def test_codes_that_are_set_in_training_do_not_move_by_what_was_before(self, rule):
        """On latents that are the codes nothing is left to move, but for what Adam would remember."""
        layer, codes = started(rule), nn.functional.normalize(randn(8, 4, seed=4), dim=1)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        for batch in (randn(2, 50, 4), randn(2, 50, 4, seed=1)):
            optimizer.zero_grad()
            layer(batch).loss.backward()
            optimizer.step()
        layer.set_codebook(codes)
        optimizer.zero_grad()
        (0 * layer(codes[None]).loss).backward()
        optimizer.step()
        torch.testing.assert_close(layer.codebook, codes, rtol=0, atol=1e-6)

    def test_layers_in_a_row_start_on_distinct_latents(self):
        z = randn(4, 200, 4)
        first, second = VectorQuantize(4, 64), VectorQuantize(4, 64)
        one = first(z)
        two = second(z - one.quantized.detach())
        assert len(second.codebook.unique(dim=0)) == 64
        assert float(two.info.distortion) < 0.5 * float(one.info.distortion)

    def test_says_once_what_a_start_lacks(self):
        layer = VectorQuantize(4, 8).eval()
        with pytest.warns(UserWarning, match="has not started") as caught:
            [layer(randn(1, 3, 4)) for _ in range(2)]
        assert len(caught) == 1
        with pytest.warns(UserWarning, match="The codebook of 8 codes starts on 3 distinct latents"):
            layer.train()(randn(1, 3, 4))

    @pytest.mark.parametrize("rule", table.LAYER, ids=repr)
    def test_nothing_to_quantize(self, rule):
        """The start waits, and then only time goes on."""
        layer, none = VectorQuantize(4, 8, rule), torch.zeros(2, 5, dtype=torch.bool)
        empty = [(randn(2, 5, 4), none), (torch.zeros(0, 4, 3, 3), None), (torch.zeros(2, 0, 4), None)]
        for wait in (True, False):
            layer._codebook.settle()  # what is done at the next pass in any case
            before = {name: value.clone() for name, value in layer.state_dict().items()}
            for z, mask in empty:
                output = layer(z.requires_grad_(), mask=mask, displacement=torch.zeros_like(z))
                assert (output.loss.item(), output.info.distortion.item(), output.quantized.shape) == (0, 0, z.shape)
                assert not any(bool(gradient.any()) for gradient in gradients(layer, output.loss))
            changed = {name for name, value in layer.state_dict().items() if not torch.equal(value, before[name])}
            assert changed == (set() if wait else {"step"})
            layer(randn(2, 50, 4), displacement=torch.zeros(2, 50, 4))

    @pytest.mark.parametrize("start", ["matched", "published"])
    @pytest.mark.parametrize("rule", ["vq", "ema", "simvq", "fvq", "graph"])
    def test_made_on_a_meta_device(self, rule, start):
        with torch.device("meta"):
            layer, reads = (VectorQuantize(4, 8, rule, start) for _ in range(2))
        layer.to_empty(device="cpu")
        for values in layer.buffers():
            values.zero_()  # whatever was in the memory
        layer.reset_parameters()
        layer(randn(1, 50, 4))
        reads.load_state_dict(copy.deepcopy(layer.state_dict()), assign=True)
        assert torch.equal(reads(randn(1, 50, 4, seed=1)).indices, layer(randn(1, 50, 4, seed=1)).indices)
        assert_same_state(layer, reads)


@every_rule
def test_any_precision_in_and_out(rule):
    """Codes that passes move keep float32 at least."""
    for (own, outer), dim in zip(PRECISIONS, 4 * (None, 3), strict=True):
        layer, z = VectorQuantize(4, 8, rule, codebook_dim=dim).to(own), randn(2, 9, 4).to(outer).requires_grad_()
        for _ in range(2):
            output = layer(z, displacement=torch.zeros_like(z))
        (output.loss + output.quantized.sum()).backward()
        assert output.quantized.dtype == outer
        assert bool(z.grad.isfinite().all())
        if rule in MOVED:
            numbers = [value for value in layer._codebook.state_dict().values() if value.is_floating_point()]
            assert {value.dtype for value in numbers} <= {torch.float32, torch.float64}


@every_rule
def test_evaluation_waits_for_no_other_process(rule, monkeypatch):
    """One process may evaluate by itself."""
    layer, asked = started(rule).eval(), []
    monkeypatch.setattr(processes, "running", lambda: bool(asked.append(rule)))
    layer(randn(1, 20, 4))
    assert not asked


@every_rule
def test_requires_grad_holds_any_codebook(rule):
    """Also by the attribute of each parameter, and in copies."""
    layer, z = started(rule), randn(1, 50, 4, seed=5)
    codes = layer.codebook.clone()
    nn.Sequential(layer).requires_grad_(False)
    layer(z, displacement=torch.ones_like(z))
    copy.deepcopy(layer)(z, displacement=torch.ones_like(z))
    assert torch.equal(layer.codebook, codes)
    for parameter in layer.parameters():
        parameter.requires_grad = True
    layer(z, displacement=torch.ones_like(z))
    assert torch.equal(layer.codebook, codes) == (rule not in MOVED)


@pytest.mark.parametrize(
    ("rule", "estimator"), [(rule, "rotation") for rule in RULES] + [("vq", name) for name in ESTIMATORS], ids=str
)
def test_a_function_transform_sees_a_pure_function(rule, estimator):
    layer, z = started(rule, estimator=estimator), randn(2, 20, 4, seed=1)
    before, parameters = copy.deepcopy(layer), dict(layer.named_parameters())

    def total(z):
        output = functional_call(layer, parameters, (z,), {"displacement": torch.zeros_like(z)})
        return output.loss + output.quantized.square().sum()

    gradient = grad(total)(z)
    assert_same_state(before, layer, atol=0)
    assert torch.equal(gradient, torch.autograd.grad(total(z.requires_grad_()), z)[0])


@pytest.mark.filterwarnings(DYNAMO)
class TestGraphs:
    @pytest.mark.parametrize(("rule", "training"), [("vq", False), (EMA(0.3), True), ("nsvq", True)], ids=str)
    def test_sizes_share_a_graph(self, rule, training):
        graphs, layer = [], started(rule).train(training)
        torch.compiler.reset()
        call = torch.compile(layer, backend=lambda graph, _: graphs.append(graph) or graph.forward, fullgraph=True)
        for size in range(2, 16):
            call(randn(size, 5, 4))
        assert len(graphs) <= 3

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
    def test_exported_with_free_axes_saved_and_read(self):
        layer, file, z = started("vq").eval(), io.BytesIO(), randn(7, 9, 4)
        free = {"latents": {0: torch.export.Dim("b"), 1: torch.export.Dim("n")}}
        torch.export.save(torch.export.export(layer, (randn(3, 5, 4),), dynamic_shapes=free), file)
        file.seek(0)
        output = torch.export.load(file).module()(z)
        assert torch.equal(output.indices, layer(z).indices)
        assert torch.equal(output.info.hits, layer(z).info.hits)


def test_tokens_of_any_integer_type_and_none():
    layer = VectorQuantize(4, 100)
    layer.initialize(randn(500, 4))
    tokens = torch.randint(0, 100, (10, 10), generator=torch.Generator().manual_seed(1))
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64):
        assert torch.equal(layer.indices_to_codes(tokens.to(dtype)), layer.codebook[tokens])
        entry = TamingQuantizer(layer).get_codebook_entry(tokens.to(dtype))
        assert torch.equal(entry, layer.codebook[tokens.ravel()])
    assert layer.indices_to_codes(torch.tensor([-1])).tolist() == [[0] * 4]
    with pytest.raises(ValueError, match="must be integers. Got torch.float32"):
        layer.indices_to_codes(torch.zeros(3))


LAYOUTS = [
    ((6, 4), {}, -1),
    ((2, 6, 4), {}, -1),
    ((2, 4, 6), {"channel_last": False}, 1),
    ((2, 4, 3, 2), {}, 1),
    ((2, 3, 2, 4), {"channel_last": True}, -1),
    ((2, 4, 3, 2, 5), {}, 1),
    ((2, 3, 2, 5, 4), {"channel_last": True}, -1),
]


@pytest.mark.parametrize(("shape", "options", "axis"), LAYOUTS, ids=str)
def test_layouts(shape, options, axis):
    layer, plain, z = started("vq", **options), started("vq"), randn(*shape, seed=3)
    output, rows = layer(z), z.movedim(axis, -1)
    wanted = plain(rows.reshape(1, -1, 4))
    assert output.indices.shape == rows.shape[:-1]
    assert torch.equal(output.indices.ravel(), wanted.indices.ravel())
    assert torch.equal(output.quantized.movedim(axis, -1).reshape(-1, 4), wanted.quantized[0])


REFUSED = [
    (lambda: VectorQuantize(4, 8, accept_image_fmap=True, channel_last=True), "'channel_last' parameter of VectorQuantize"),
    (lambda: VectorQuantize(4, 8, channel_last=False)(randn(3, 4)), r"\[b, 4, n\]. Got \(3, 4\)"),
    (lambda: VectorQuantize(4, 8)(None), "dense tensor of floating point. Got NoneType"),
    (lambda: VectorQuantize(4, 8)(torch.zeros(2, 5, 4).long()), "floating point. Got torch.int64"),
    (lambda: VectorQuantize(4, 8)(torch.zeros(2, 5, 4, device="meta")), "are on meta, and its codes on cpu"),
    (lambda: VectorQuantize(4, 8).initialize(randn(3, 5)), r"must have the shape \[N, 4\]. Got \(3, 5\)"),
    (lambda: VectorQuantize(4, 8).initialize(torch.full((3, 4), torch.nan)), "at least one latent that is finite"),
    (lambda: VectorQuantize(4, 8).set_codebook(randn(4, 8)), r"must be finite \(8, 4\). Got \(4, 8\)"),
    (lambda: VectorQuantize(4, 8, "simvq").set_codebook(randn(8, 4)), "Those of SimVQ are made of other numbers"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_refused_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
