"""The layer as a part of a model: shapes, masks, starts, gradients, precision, processes, what it refuses."""

import copy
import shutil

import numpy as np
import pytest
import table
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import together

torch = pytest.importorskip("torch")

from vqtheory.assign import nearest  # noqa: E402
from vqtheory.nn import VectorQuantize, step_size  # noqa: E402
from vqtheory.nn.codebooks import RULES  # noqa: E402
from vqtheory.nn.ops import search  # noqa: E402
from vqtheory.nn.ops.attraction import attract, propagate  # noqa: E402
from vqtheory.nn.ops.averaging import kernel_sums  # noqa: E402
from vqtheory.nn.ops.search import assign  # noqa: E402
from vqtheory.rules import CVQ, EMA, FSCL, NSVQ, Conscience, Sinkhorn  # noqa: E402
from vqtheory.rules.base import projects  # noqa: E402
from vqtheory.rules.cvq import ANCHORS  # noqa: E402
from vqtheory.rules.wrapper import Wrapper  # noqa: E402
from vqtheory.schedules import exponential  # noqa: E402


def latents(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(rule="vq", **options):
    return VectorQuantize(4, 8, rule, **options)


def started(rule):
    model = layer(rule)
    model.initialize(latents(50, 4))
    return model


DYNAMO = "ignore:.*autograd.function.Function.* should not be instantiated:DeprecationWarning"  # as dynamo does itself
GRADIENT = "ignore:The .grad attribute of a Tensor:UserWarning"  # which dynamo hides, after a graph break


def assert_same_updates(model, how, steps):
    """Compiled or not: the same indices, and after each update by SGD the same codes up to rounding."""
    torch.compiler.reset()
    plain = copy.deepcopy(model)
    calls = {model: torch.compile(model, **how), plain: plain}
    for step in range(steps):
        found = []
        for each, call in calls.items():
            output = call(latents(2, 4, 6, 6, seed=step), displacement=0.1 * latents(2, 4, 6, 6, seed=9))
            if output.loss.requires_grad:
                parameters = each.codebook_parameters()
                gradients = torch.autograd.grad(output.loss, parameters)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.data.sub_(0.5 * gradient)
            found.append((output.indices, output.loss.detach(), each.codebook.clone()))
        assert torch.equal(found[0][0], found[1][0])
        torch.testing.assert_close(found[0][1:], found[1][1:], rtol=1e-5, atol=1e-6)


def assert_same_under_autocast(rule, z):
    """The codes after a pass in training, and the gradients of their loss."""
    found = []
    for enabled in (False, True):
        model = started(rule)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = model(z, displacement=0.1 * z).loss
        if loss.requires_grad:
            loss.backward()
        found.append([model.codebook, *(parameter.grad for parameter in model.codebook_parameters())])
    for plain, inside in zip(*found, strict=True):
        assert torch.equal(plain, inside)


def test_a_name_stands_for_the_rule_with_its_defaults():
    assert {type(rule) for rule in table.PLAIN_LAYER if rule.key} == set(RULES.values())
    for name, rule in RULES.items():
        assert VectorQuantize(4, 8, name).rule == rule()


SOFTMAX, PROPAGATE = (NSVQ(form=form) for form in ("softmax", "propagate"))


@pytest.mark.parametrize("rule", [*table.PLAIN_LAYER, SOFTMAX], ids=repr)
class TestEveryRule:
    def test_shapes_and_what_is_returned(self, rule):
        for shape, places in (((2, 6, 4), (2, 6)), ((2, 4, 3, 2), (2, 3, 2))):
            quantized, indices, loss, info = layer(rule)(latents(*shape))
            assert quantized.shape == shape
            assert (indices.shape, indices.dtype) == (places, torch.int64)
            assert loss.ndim == 0
            assert int(info.hits.sum()) == indices.numel()
            assert float(info.usage) == pytest.approx(len(indices.unique()) / 8)

    def test_quantized_latents_are_codes(self, rule):
        model = layer(rule)
        quantized, indices, *_ = model(latents(2, 4, 3, 2))
        model.eval()
        quantized, indices, *_ = model(latents(2, 4, 3, 2, seed=1))
        chosen = model.codebook[indices].permute(0, 3, 1, 2)
        torch.testing.assert_close(quantized, chosen, rtol=0, atol=1e-6)

    def test_evaluation_changes_nothing(self, rule):
        model = layer(rule)
        model(latents(1, 20, 4))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        model.eval()(latents(1, 20, 4, seed=1))
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]), name

    def test_a_saved_layer_goes_on_alike(self, rule):
        model = layer(rule)
        model(latents(1, 20, 4))
        again = layer(rule)
        again.load_state_dict(model.state_dict())
        for one, other in zip(model(latents(1, 20, 4, seed=2))[:3], again(latents(1, 20, 4, seed=2))[:3], strict=True):
            assert torch.equal(one, other)

    def test_latents_get_the_decoder_s_gradient_and_that_of_the_commitment(self, rule):
        model = layer(rule, commitment_weight=0.5)
        model(latents(1, 20, 4))
        z = latents(1, 20, 4, seed=1).requires_grad_()
        quantized, _, loss, _ = model(z)
        quantized.sum().backward(retain_graph=True)
        straight = not projects(rule) and not model._codebook.soft  # as cosine, which sees directions, and IBQ's softmax
        if straight:
            torch.testing.assert_close(z.grad, torch.ones_like(z))
        z.grad = None
        loss.backward()
        if straight:
            torch.testing.assert_close(z.grad, 0.5 * 2 * (z - quantized).detach() / z.numel(), rtol=1e-4, atol=1e-7)

    def test_global_randomness_is_left_alone(self, rule):
        torch.manual_seed(7)
        wanted = torch.rand(1)
        torch.manual_seed(7)
        for start in ("published", "matched"):
            layer(rule, start=start)(latents(1, 20, 4))
        assert torch.equal(torch.rand(1), wanted)

    def test_autocast_changes_neither_indices_nor_loss(self, rule):
        model, z = started(rule).eval(), latents(1, 200, 4, seed=1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = model(z)
        assert torch.equal(inside.indices, model(z).indices)
        assert torch.equal(inside.loss, model(z).loss)

    def test_autocast_changes_no_update(self, rule):
        assert_same_under_autocast(rule, latents(1, 200, 4, seed=1))

    @pytest.mark.filterwarnings(DYNAMO, GRADIENT)
    @pytest.mark.parametrize("training", [False, True])
    def test_compiled_without_a_graph_break(self, rule, training):
        """But for rules around rules, which call the simulator's numpy before a pass in training."""
        whole_graph = not (training and isinstance(rule, Wrapper))
        assert_same_updates(started(rule).train(training), {"backend": "eager", "fullgraph": whole_graph}, steps=3)

    @pytest.mark.filterwarnings(DYNAMO, GRADIENT)
    def test_compiled_before_its_start(self, rule):
        assert_same_updates(layer(rule), {"backend": "eager"}, steps=2)


class TestPropagate:
    """The form that is told how far the latents have moved."""

    def test_autocast_changes_no_update(self):
        assert_same_under_autocast(PROPAGATE, latents(1, 200, 4, seed=1))

    def test_projected_latents_under_autocast(self):
        """Whose moves the projection gives in bfloat16."""
        model, z = VectorQuantize(16, 8, PROPAGATE, codebook_dim=4), latents(1, 20, 16)
        model.initialize(latents(20, 4))
        before = model.codebook.clone()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(z, displacement=torch.ones_like(z))
        moved = model.project_in(torch.ones(16)) - model.project_in.bias
        torch.testing.assert_close(model.codebook - before, moved.expand(8, 4).detach(), rtol=2**-7, atol=2**-7)

    @pytest.mark.filterwarnings(DYNAMO)
    def test_compiled_without_a_graph_break(self):
        assert_same_updates(started(PROPAGATE), {"backend": "eager", "fullgraph": True}, steps=3)

    def test_the_sums_are_those_of_the_dense_formula(self, monkeypatch):
        in_blocks_of(5, monkeypatch)
        x, codes, moved = (latents(n, 4, seed=n).double() for n in (23, 40, 23))
        w = torch.exp(-0.7 * (x[:, None] - codes).square().sum(dim=2))
        passed, mass = propagate(x, whole(x), codes, moved, torch.tensor(-0.7, dtype=torch.float64))
        torch.testing.assert_close(passed, w.T @ moved, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(mass, w.sum(dim=0), rtol=1e-10, atol=0)

    def test_a_code_out_of_reach_gets_nothing(self):
        codes = torch.tensor([[0.0], [1e4]])
        passed, mass = propagate(torch.zeros(3, 1), whole(range(3)), codes, torch.ones(3, 1), torch.tensor(-1.0))
        assert (passed.ravel().tolist(), mass.tolist()) == ([3, 0], [3, 0])


def whole(rows):
    """All of them are kept."""
    return torch.ones(len(rows), dtype=torch.bool)


def in_blocks_of(size, monkeypatch):
    """So many latents at a time."""
    monkeypatch.setattr(search, "_BLOCK", {"cpu": 0})
    monkeypatch.setattr(search, "_LEAST", size)


@pytest.mark.parametrize("rule", [*table.LAYER, SOFTMAX], ids=repr)
def test_no_array_of_latents_by_codes_is_made(rule, monkeypatch):
    """Of no operator in the forward and backward pass: a one-hot matrix would be one as well."""
    in_blocks_of(64, monkeypatch)
    model, z = VectorQuantize(4, 512, rule), latents(1, 2048, 4)
    model.initialize(z[0])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        output = model(z.requires_grad_(), displacement=torch.ones_like(z))
        (output.loss + output.quantized.sum()).backward()
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert 4 * z.numel() <= largest < 4 * 2048 * 512 / 2


@pytest.mark.parametrize("rule", ["vq", "ema", "nsvq", SOFTMAX, PROPAGATE], ids=str)
def test_the_same_bits_on_one_thread_and_on_two(rule):
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            model, z = VectorQuantize(32, 300, rule), latents(1, 5000, 32).requires_grad_()
            model.initialize(latents(300, 32, seed=1))
            output = model(z, displacement=torch.ones_like(z))
            output.loss.backward()
            gradients = [parameter.grad for parameter in model.codebook_parameters()]
            found.append([output.indices, output.loss.detach(), z.grad, model.codebook, *gradients])
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


KEEP = torch.arange(9) != 4
OPERATORS = {
    "assign": (torch.ops.vqtheory.assign, ()),
    "attract": (torch.ops.vqtheory.attract, (torch.tensor(-0.7), 0.3, True)),
    "propagate": (torch.ops.vqtheory.propagate, (latents(9, 4), torch.tensor(-0.7))),
    "draw": (torch.ops.vqtheory.draw, (-0.7, torch.linspace(0, 1, 9)[:8])),
    "attract_by_rank": (torch.ops.vqtheory.attract_by_rank, (torch.tensor(0.7),)),
    "assign_by_price": (torch.ops.vqtheory.assign_by_price, (torch.linspace(0.5, 1, 8),)),
    "contrast": (torch.ops.vqtheory.contrast, (False,)),
    "most_alike": (torch.ops.vqtheory.most_alike, ()),
    "pull_back": (torch.ops.vqtheory.pull_back, (latents(9, 4, seed=2), True, 0.7)),
    "entropies": (torch.ops.vqtheory.entropies, (True, 0.7)),
    "highest_logit": (torch.ops.vqtheory.highest_logit, (torch.ones(8), torch.ones(8), 0.5)),
    "soft_distortion": (torch.ops.vqtheory.soft_distortion, (torch.ones(8), torch.ones(8), 0.5, KEEP, 0.7)),
    "pull_back_logits": (torch.ops.vqtheory.pull_back_logits, (torch.ones(8), torch.ones(8), 0.5, latents(9, 4), 0.7)),
    "kernel_sums": (torch.ops.vqtheory.kernel_sums, (torch.arange(9) % 8, torch.tensor(0.7))),
}


WITHOUT_MASK = (
    "assign",
    "assign_by_price",
    "most_alike",
    "pull_back",
    "highest_logit",
    "soft_distortion",
    "pull_back_logits",
)


@pytest.mark.filterwarnings(DYNAMO)
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_are_what_a_compiler_takes_them_for(name):
    operator, options = OPERATORS[name]
    kept = [] if name in WITHOUT_MASK else [KEEP]
    torch.library.opcheck(operator, (latents(9, 4), *kept, latents(8, 4, seed=1), *options))


@pytest.mark.skipif(shutil.which("g++") is None, reason="the default backend needs a C++ compiler")
@pytest.mark.filterwarnings(DYNAMO, "ignore:.torch.jit.script_method:DeprecationWarning")
@pytest.mark.parametrize("rule", ["vq", "nsvq", SOFTMAX, "ema"], ids=str)
def test_compiled_by_the_default_backend(rule):
    """A few seconds each."""
    assert_same_updates(started(rule), {"fullgraph": True}, steps=2)


class TestAssignment:
    @given(dim=st.integers(1, 9), num_codes=st.integers(1, 40), shift=st.floats(-50, 50), seed=st.integers(0, 99))
    @settings(max_examples=40)
    def test_is_that_of_the_simulator_in_float32(self, dim, num_codes, shift, seed):
        random = np.random.default_rng(seed)
        codes = (shift + 0.01 * random.normal(size=(num_codes, dim))).astype(np.float32)
        x = (shift + 0.01 * random.normal(size=(64, dim))).astype(np.float32)
        found = assign(torch.tensor(x), torch.tensor(codes)).numpy()
        best, squared = nearest(x, codes)
        own = ((x - codes[found]) ** 2).sum(axis=1)
        differ = found != best
        assert differ.mean() <= 0.02
        np.testing.assert_allclose(own[differ], squared[differ], rtol=1e-5)  # as near, up to rounding

    @given(rows=st.integers(1, 200), distinct=st.integers(1, 300), seed=st.integers(0, 99))
    @settings(max_examples=40)
    def test_the_two_lowest_are_those_of_a_stable_sort(self, rows, distinct, seed):
        values = torch.randint(distinct, (rows, 20), generator=torch.Generator().manual_seed(seed)).float()
        order = values.sort(dim=0, stable=True).indices[[0, min(1, rows - 1)]]
        assert torch.equal(search._two_lowest(values), order.sort(dim=0).values)

    @pytest.mark.parametrize("dim", [1, 3, 64])
    def test_codes_that_are_equal_are_so_in_float32(self, dim):
        """Also where rows of the product are made by different parts of its kernel."""
        codes = latents(10, dim).repeat(101, 1)[:1003]
        assert int(assign(latents(777, dim, seed=1), codes).max()) < 10

    def test_latents_that_are_not_finite_get_some_code(self):
        for value in (torch.nan, torch.inf):
            assert int(assign(torch.full((3, 4), value), latents(100, 4)).max()) < 100

    def test_nothing_and_one_code(self):
        assert assign(latents(0, 4), latents(9, 4)).shape == (0,)
        assert assign(latents(5, 4), latents(1, 4)).tolist() == [0] * 5

    def test_ties_go_to_the_lower_index(self):
        codes = torch.tensor([[2.0], [1.0], [-1.0], [1.0], [5.0]])
        assert assign(torch.tensor([[0.0], [1.0], [3.5]]), codes).tolist() == [1, 1, 0]

    def test_of_many_equal_codes_the_first_wins(self):
        codes = torch.tensor([[3.0], *[[1.0]] * 30, [-5.0]])
        assert assign(torch.linspace(0, 1.5, 50)[:, None], codes).tolist() == [1] * 50

    def test_far_from_the_origin_where_the_usual_formula_fails(self):
        """float32 at mean 0.3 and spread 0.004, as a fresh encoder has it."""
        random = np.random.default_rng(0)
        x, codes = (0.3 + 0.004 * random.normal(size=(size, 64)).astype(np.float32) for size in (2000, 512))
        found = assign(torch.tensor(x), torch.tensor(codes)).numpy()
        assert np.mean(found != nearest(x.astype(np.float64), codes.astype(np.float64))[0]) < 1e-3


def dense_loss(x, codes, indices, scale, strength, softmax):
    """Of pairs of which the code does not win, all [N, K] of them at once."""
    squared = (x[:, None] - codes).square().sum(dim=2)
    w = strength * torch.exp(squared * scale)
    if softmax:
        w = (strength * len(codes) * torch.softmax(squared * scale, dim=1)).clamp(max=1)
    return (w.detach().scatter(1, indices[:, None], 0.0) * squared).sum() / x.numel()


class TestNSVQLoss:
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=str)
    @pytest.mark.parametrize("softmax", [False, True])
    @pytest.mark.parametrize("num_codes", [8, 130])
    def test_the_streamed_gradient_is_that_of_the_dense_formula(self, softmax, num_codes, dtype, tolerance, monkeypatch):
        in_blocks_of(5, monkeypatch)
        codes, x = latents(num_codes, 4, seed=2).to(dtype).requires_grad_(), latents(23, 4, seed=1).to(dtype)
        scale, strength = torch.tensor(-0.7, dtype=dtype), 0.3
        loss, indices, _ = attract(x, whole(x), codes, scale, strength, softmax)
        assert torch.equal(indices, assign(x, codes))
        dense = dense_loss(x.double(), codes.double(), indices, scale.double(), strength, softmax)
        (wanted,), (found,) = torch.autograd.grad(dense, codes), torch.autograd.grad(loss, codes)
        torch.testing.assert_close(loss.double(), dense, rtol=tolerance, atol=0)
        assert float((found - wanted).abs().max()) <= tolerance * float(wanted.abs().max())

    def test_its_number_is_in_info_and_not_in_the_loss(self):
        plain, attracted = started("vq"), started(SOFTMAX)
        one, other = (model(latents(2, 9, 4, seed=1)) for model in (plain, attracted))
        assert torch.equal(one.loss, other.loss)
        assert float(one.info.attraction) == 0 < float(other.info.attraction)
        one.loss.backward(), other.loss.backward()
        assert not torch.equal(plain._codebook.weight.grad, attracted._codebook.weight.grad)

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)], ids=str)
    def test_kernel_sums_in_blocks_are_those_of_the_dense_formula(self, dtype, tolerance, monkeypatch):
        """Also of a code so far away that its weights are no numbers."""
        in_blocks_of(5, monkeypatch)
        codes, x, keep = latents(30, 4, seed=2).to(dtype), latents(23, 4, seed=1).to(dtype), torch.arange(23) % 7 != 3
        codes[3], tau = 300.0, torch.tensor(0.7, dtype=dtype)
        winners = assign(x, codes)
        top, mass, pull = kernel_sums(x, keep, codes, winners, tau)
        logarithms = torch.log_softmax(-(x[:, None].double() - codes.double()).square().sum(dim=2) / 0.7, dim=1)
        logarithms = logarithms.scatter(1, winners[:, None], -torch.inf)[keep]
        towards = torch.softmax(logarithms, dim=0).T @ x[keep].double() - codes.double()
        wanted = torch.logsumexp(logarithms, dim=0) / np.log(2)
        torch.testing.assert_close((top + mass.log2()).double(), wanted, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close((pull / mass[:, None]).double(), towards, rtol=tolerance, atol=tolerance)

    @pytest.mark.parametrize("softmax", [False, True])
    def test_a_kernel_of_any_width(self, softmax):
        """Narrow, it leaves the codes alone; wide, all latents draw alike."""
        codes, x = latents(40, 4, seed=2), 1e3 + latents(23, 4, seed=1)
        tiny = torch.finfo(torch.float32).tiny
        loss, _, gradient = attract(x, whole(x), codes, torch.tensor(-1 / tiny), 0.5, softmax)
        assert (float(loss), float(gradient.abs().max())) == (0, 0)
        loss, indices, gradient = attract(x, whole(x), codes, torch.tensor(-tiny), 0.5, softmax)
        drawn = 0.5 * (codes[:, None] - x) * (indices != torch.arange(40)[:, None])[:, :, None]
        torch.testing.assert_close(gradient, drawn.sum(dim=1) / 46, rtol=1e-5, atol=0)

    def test_the_bandwidth_follows_its_schedule(self):
        """A wide kernel moves all codes, a narrow one only those that are chosen."""
        model = layer(NSVQ(bandwidth=exponential(10.0, half_life=0.05)))
        model.initialize(latents(8, 4))
        moved = []
        for _ in range(2):
            loss = model(model.codebook[:1][None] + 0.01).loss
            (gradient,) = torch.autograd.grad(loss, model._codebook.weight)
            moved.append(int((gradient.abs().sum(dim=1) > 1e-9).sum()))
        assert moved == [8, 1]


class TestUse:
    def test_masked_latents_stay_and_do_not_count(self):
        model = layer()
        model.initialize(latents(20, 4))
        z, mask = latents(2, 5, 4), torch.arange(5).repeat(2, 1) < 3
        quantized, indices, loss, info = model(z, mask=mask)
        assert torch.equal(quantized[~mask], z[~mask])
        assert (indices[~mask] == -1).all()
        assert int(info.hits.sum()) == 6
        alone = model(z[:, :3])
        torch.testing.assert_close(loss, alone.loss)
        assert torch.equal(indices[:, :3], alone.indices)

    def test_projections(self):
        model = VectorQuantize(16, 8, codebook_dim=4)
        quantized, indices, loss, _ = model(latents(1, 16, 3, 3))
        assert quantized.shape == (1, 16, 3, 3)
        (loss + quantized.sum()).backward()
        assert model.project_in.weight.grad is not None
        assert model.indices_to_codes(indices).shape == (1, 3, 3, 16)

    def test_a_matched_start_takes_latents_of_the_first_batch(self):
        z = latents(1, 50, 4)
        model = layer(commitment_weight=1.0)
        *_, info = model(z)
        assert float(info.usage) == 1
        distance = torch.cdist(model.codebook.double(), z[0].double())
        assert float(distance.min(dim=1).values.max()) < 1e-6

    def test_beta_weighs_the_commitment_unless_asked(self):
        z = latents(1, 5, 4)
        models = [layer(commitment_weight=0.1, beta_on_codebook=swapped) for swapped in (False, True)]
        gradients = []
        for model in models:
            model.initialize(latents(20, 4, seed=3))
            model(z).loss.backward()
            gradients.append(model._codebook.weight.grad)
        torch.testing.assert_close(gradients[1], 0.1 * gradients[0])


IN_PROCESSES = [EMA(), NSVQ(), SOFTMAX, *(CVQ(anchors=anchors, temperature=0.5) for anchors in ANCHORS)]
IN_PROCESSES += [FSCL(), Conscience(), Sinkhorn()]


def test_two_processes_equal_one_with_the_joined_batch(tmp_path):
    """EMA's statistics are added up, and gradients averaged, over two gloo processes; codes and starts are shared."""
    script = f"""
        rules = {list(map(repr, IN_PROCESSES))!r}
    """
    script += """
        from torch.nn.parallel import DistributedDataParallel
        from vqtheory.nn import VectorQuantize
        from vqtheory._base.config import parse
        z = torch.randn(4, 40, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for name, rule in enumerate(rules):
            model = VectorQuantize(4, 8, parse(rule)).double()
            model.initialize(z[0])
            trained = [p for p in model.parameters() if p.requires_grad]
            ddp = DistributedDataParallel(model) if world > 1 and trained else model
            optimizer = torch.optim.SGD(trained, lr=0.5) if trained else None
            for batch in z:
                loss = ddp(batch.chunk(world)[rank][None]).loss
                if optimizer:
                    optimizer.zero_grad(); loss.backward(); optimizer.step()
            if rank == 0:
                torch.save(model.codebook, f"{folder}/{name}-{world}.pt")
        # the noise of the whole batch, and a step inside by the gradient of both
        for estimator in ("diveq", "space-filling-diveq", "gumbel"):
            layer = VectorQuantize(4, 8, estimator=estimator).double()
            layer.initialize(z[0])
            layer.step_inside(torch.optim.SGD(layer.codebook_parameters(), lr=0.5))
            own = layer(z[0].chunk(world)[rank][None]).quantized.detach()
            torch.save([own, layer.codebook], f"{folder}/{estimator}-{rank}-{world}.pt")
        for rule in ("vq", "ema") if world > 1 else ():
            # rank 0 alone has read the codes, and the other takes them over
            z, codes = torch.randn(2, 20, 4), torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
            layer = VectorQuantize(4, 8, rule)
            if rank == 0:
                layer.load_state_dict({"_codebook.weight": codes}, strict=False)
            if rule == "ema":
                layer.requires_grad_(False)
            DistributedDataParallel(torch.nn.Sequential(torch.nn.Linear(4, 4), layer))(z)
            assert torch.equal(layer.codebook, codes)
            # a start waits for latents of any rank
            layer = VectorQuantize(4, 8, rule)
            layer(z, mask=torch.zeros(2, 20, dtype=torch.bool))
            assert not layer.started
            layer(z, mask=torch.full((2, 20), rank == 1))
            assert layer.started and layer.codebook.isfinite().all()
            first = layer.codebook.clone()
            torch.distributed.broadcast(first, src=0)
            assert torch.equal(first, layer.codebook)
    """
    together(script, tmp_path, (0, 1), (0, 2), (1, 2))
    for name, rule in enumerate(IN_PROCESSES):
        one, two = (torch.load(tmp_path / f"{name}-{world}.pt", weights_only=True) for world in (1, 2))
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12, msg=repr(rule))
    for name in ("diveq", "space-filling-diveq", "gumbel"):
        files = (f"{name}-{place}.pt" for place in ("0-1", "0-2", "1-2"))
        whole, first, second = (torch.load(tmp_path / file, weights_only=True) for file in files)
        torch.testing.assert_close(whole[0], torch.cat([first[0], second[0]], dim=1), rtol=0, atol=1e-12)
        torch.testing.assert_close(whole[1], first[1], rtol=0, atol=1e-12)
        assert torch.equal(first[1], second[1])


REFUSED = [
    (lambda: VectorQuantize(0, 8), "'dim' parameter of VectorQuantize must be an int >= 1. Got 0"),
    (lambda: VectorQuantize(4, 8, "vqq"), "did you mean 'vq'"),
    (lambda: VectorQuantize(4, 8, 3), "'rule' parameter of VectorQuantize"),
    (lambda: VectorQuantize(4, 8, "ema", estimator="code-gradient"), "needs no gradient of the codes"),
    (lambda: layer()(latents(2, 5, 3)), r"\[b, n, 4\]. Got \(2, 5, 3\)"),
    (lambda: layer()(latents(2, 3, 5, 5)), r"\[b, 4, h, w\]. Got \(2, 3, 5, 5\)"),
    (lambda: layer()(latents(2, 5, 4), mask=torch.ones(2, 4, dtype=torch.bool)), r"bool \(2, 5\). Got"),
    (lambda: layer(NSVQ(form="propagate"))(latents(2, 5, 4)), "displacement"),
    (lambda: step_size(dim=4), "either lr or eta"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_input_gets_one_clear_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
