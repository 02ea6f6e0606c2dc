"""The map rules against torch, against a NumPy twin, against finite differences, and against what they claim."""

import math
from dataclasses import replace

import numba
import numpy as np
import pytest
from table import MAP_RULES, MAPS
from twins import codes_of_map

from vqtheory import Batches
from vqtheory.assign import nearest
from vqtheory.rules import SimVQ, TransVQ
from vqtheory.rules.maps import forward
from vqtheory.schedules import exponential

maps = pytest.mark.parametrize(("num_codes", "dim", "rule"), MAPS, ids=repr)
small = pytest.mark.parametrize("rule", MAP_RULES, ids=repr)
MATCHED = [rule for rule in MAP_RULES if rule.start == "matched"]


def start(rule, num_codes=6, dim=2, seed=1, dtype=np.float64):
    """A state that starts from codes far from the origin and of a small spread; norms, which
    start without effect, are given one."""
    codes = (3 + 0.2 * np.random.default_rng(seed).normal(size=(num_codes, dim))).astype(dtype)
    state = rule.init(codes, seed)
    for name, array in rule.parameters(state).items():
        if name.endswith("norm"):
            array += 0.3 * np.random.default_rng(2).normal(size=array.shape)
    return settled(rule, state)


def settled(rule, state):
    """The state with the codes that its parameters make: an advance over no updates."""
    return rule.advance(state, Batches(np.empty((0, 1, state.codes.shape[1]), state.codes.dtype)))[0]


def latents(steps, batch_size, dim=2, seed=3, dtype=np.float64):
    return (3 + 0.2 * np.random.default_rng(seed).normal(size=(steps, batch_size, dim))).astype(dtype)


def assert_close(actual, desired, relative):
    """Equal up to a fraction of the largest entry: small entries carry the rounding of large ones."""
    np.testing.assert_allclose(actual, desired, rtol=0, atol=relative * max(np.abs(desired).max(), 1e-300))


def test_the_parameters_of_every_map_have_a_name_of_their_own():
    """Two classes of one name and like fields would be one type in numba's cache: one map would be run for the other."""
    names = [parameters.__name__ for parameters in forward.registry if parameters is not object]
    assert len(set(names)) == len(names) >= 2


@maps
def test_forward_equals_the_twin(num_codes, dim, rule):
    state = start(rule, num_codes, dim)
    assert_close(state.codes, codes_of_map(rule, state), 1e-12)


@maps
def test_pullback_equals_finite_differences_of_the_twin(num_codes, dim, rule):
    state, random = start(rule, num_codes, dim), np.random.default_rng(4)
    gradient, step = random.normal(size=state.codes.shape), 1e-5
    pulled = rule.pullback(state, gradient)
    for direction in random.normal(size=(5, len(state.theta))):
        ahead, behind = (codes_of_map(rule, state, theta=state.theta + sign * step * direction) for sign in (1, -1))
        # the error is of order step^2, and rounding over step: 1e-10 and 1e-11 of the slope's terms
        difference = np.sum(gradient * (ahead - behind)) / (2 * step)
        assert abs(pulled @ direction - difference) < 1e-7 * np.linalg.norm(pulled) * np.linalg.norm(direction)


# An independent torch module, in torch's own layers and layout.


def torch_module(rule, state):
    torch = pytest.importorskip("torch")
    p = {name: torch.tensor(array) for name, array in rule.parameters(state).items()}
    return TORCH[type(rule)](torch, p, rule)


def linear(torch, weight, bias=None):
    """A torch Linear, which keeps its weight as [out, in]."""
    layer = torch.nn.Linear(*weight.shape[::-1], bias=bias is not None, dtype=torch.float64)
    layer.weight.data.copy_(weight)
    if bias is not None:
        layer.bias.data.copy_(bias)
    return layer


def torch_simvq(torch, p, rule):
    return linear(torch, p["weight"], p["bias"] if len(p["bias"]) else None)


def torch_transvq(torch, p, rule):
    nn, width, heads = torch.nn, rule.width, rule.heads

    def norm(gain_and_bias):
        layer = nn.LayerNorm(width, dtype=torch.float64)
        layer.weight.data.copy_(gain_and_bias[0])
        layer.bias.data.copy_(gain_and_bias[1])
        return layer

    def merged(per_head):  # [heads, M, m] -> [M out, M in]
        return linear(torch, per_head.permute(0, 2, 1).reshape(width, width))

    class Block(nn.Module):
        def __init__(self, i):
            super().__init__()
            self.norm1, self.norm2 = norm(p["attention_norm"][i]), norm(p["mlp_norm"][i])
            self.q, self.k, self.v = (merged(p[name][i]) for name in ("query", "key", "value"))
            self.o = linear(torch, p["output"][i].reshape(width, width).T)
            self.mlp = nn.Sequential(
                linear(torch, p["up"][i].T, p["up_bias"][i]), nn.GELU(), linear(torch, p["down"][i].T, p["down_bias"][i])
            )

        def forward(self, x):
            y = self.norm1(x)
            q, k, v = (layer(y).view(len(x), heads, width // heads) for layer in (self.q, self.k, self.v))
            q, k = nn.functional.elu(q) + 1, nn.functional.elu(k) + 1
            numerator = torch.einsum("khi,lhi,lhj->khj", q, k, v)
            denominator = torch.einsum("khi,lhi->kh", q, k) + 1e-6
            x = x + self.o((numerator / denominator[..., None]).reshape(len(x), width))
            return x + self.mlp(self.norm2(x))

    class Map(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.final = linear(torch, p["embed"].T), linear(torch, p["final"].T)
            self.positions = nn.Parameter(p["positions"].clone()) if rule.positions else 0.0
            self.blocks, self.norm = nn.Sequential(*map(Block, range(rule.depth))), norm(p["final_norm"])

        def forward(self, base):
            return self.final(self.norm(self.blocks(self.embed(base) + self.positions)))

    return Map()


def torch_gradients(rule, module):
    """The gradients of a torch module, in the layout and order of the rule's theta."""

    def get(parameter):
        return parameter.grad.numpy()

    if isinstance(rule, SimVQ):
        return np.concatenate([get(parameter).ravel() for parameter in module.parameters()])

    def norms(layers):
        return [np.stack([get(layer.weight), get(layer.bias)]) for layer in layers]

    blocks, heads = module.blocks, rule.heads
    per_head = [
        [get(getattr(block, name).weight).reshape(heads, -1, rule.width).transpose(0, 2, 1) for block in blocks]
        for name in "qkv"
    ]
    arrays = [
        get(module.embed.weight).T,
        *([get(module.positions)] if rule.positions else []),
        *norms(block.norm1 for block in blocks),
        *(array for name in per_head for array in name),
        *(get(block.o.weight).T for block in blocks),
        *norms(block.norm2 for block in blocks),
        *(get(block.mlp[0].weight).T for block in blocks),
        *(get(block.mlp[0].bias) for block in blocks),
        *(get(block.mlp[2].weight).T for block in blocks),
        *(get(block.mlp[2].bias) for block in blocks),
        *norms([module.norm]),
        get(module.final.weight).T,
    ]
    return np.concatenate([array.ravel() for array in arrays])


TORCH = {SimVQ: torch_simvq, TransVQ: torch_transvq}


@pytest.mark.parametrize(("num_codes", "dim", "rule"), [case for case in MAPS if type(case[2]) in TORCH], ids=repr)
def test_codes_and_pullback_equal_autograd(num_codes, dim, rule):
    torch = pytest.importorskip("torch")
    state = start(rule, num_codes, dim)
    module, gradient = torch_module(rule, state), np.random.default_rng(4).normal(size=state.codes.shape)
    codes = torch.tensor(state.shift) + float(state.scale) * module(torch.tensor(state.base))
    codes.backward(torch.tensor(gradient))
    assert_close(state.codes, codes.detach().numpy(), 1e-12)
    assert_close(rule.pullback(state, gradient), torch_gradients(rule, module), 1e-11)


@pytest.mark.parametrize(("num_codes", "dim", "rule"), [case for case in MAPS if type(case[2]) not in TORCH], ids=repr)
def test_pullback_equals_autograd_of_the_layer(num_codes, dim, rule):
    """The rules whose module in torch is the layer's alone."""
    torch = pytest.importorskip("torch")
    from vqtheory.nn.codebooks.maps import MapCodebook

    state, gradient = start(rule, num_codes, dim), np.random.default_rng(4).normal(size=(num_codes, dim))
    layer = MapCodebook(rule, num_codes, dim).double()
    layer.load(state)
    codes = float(state.scale) * layer.map(layer.base) + layer.shift
    codes.backward(torch.tensor(gradient))
    names = [name for name, array in rule.parameters(state).items() if array.size]
    pulled = np.concatenate([layer.map.get_parameter(name).grad.numpy().ravel() for name in names])
    assert_close(state.codes, codes.detach().numpy(), 1e-12)
    assert_close(rule.pullback(state, gradient), pulled, 1e-10)


@pytest.mark.parametrize("rule", [rule for rule in MAP_RULES if type(rule) in TORCH], ids=repr)
def test_trajectory_equals_torch_optim(rule):
    """The loss is E w |x - c_q(x)|^2 / 2, in units of the start's scale squared."""
    torch = pytest.importorskip("torch")
    state, x = start(rule), latents(8, 5)
    weight = np.random.default_rng(5).uniform(0.5, 2, size=x.shape[:2])
    module = torch_module(rule, state)
    maker = torch.optim.Adam if rule.optimizer == "adam" else torch.optim.SGD
    optimizer = maker(module.parameters(), lr=1.0)
    after, info = rule.advance(state, Batches(x, weight=weight))
    base, shift, scale = torch.tensor(state.base), torch.tensor(state.shift), float(state.scale)
    for t in range(len(x)):
        optimizer.param_groups[0]["lr"] = float(rule.step_size(t) if callable(rule.step_size) else rule.step_size)
        optimizer.zero_grad()
        codes = shift + scale * module(base)
        assignment, squared = nearest(x[t], codes.detach().numpy())
        assert math.isclose(info["distortion"][t], np.average(squared, weights=weight[t]), rel_tol=1e-9)
        error = torch.tensor(x[t]) - codes[torch.tensor(assignment)]
        ((torch.tensor(weight[t]) * (error**2).sum(1)).mean() / (2 * scale**2)).backward()
        optimizer.step()
    np.testing.assert_array_equal(info["assignment"], assignment)
    with torch.no_grad():
        codes = shift + scale * module(base)
    # Adam divides by the root of a mean square: an entry with a gradient near 0 carries its rounding
    assert_close(after.codes - state.codes, codes.numpy() - state.codes, 1e-8)
    assert np.abs(after.codes - state.codes).max() > 1e-3


def test_simvq_moves_codes_by_its_kernel():
    rule = SimVQ(step_size=0.1)
    state = start(rule, num_codes=9, dim=3)
    batch = latents(1, 20, dim=3)
    gradient = np.zeros_like(state.codes)
    for x, k in zip(batch[0], nearest(batch[0], state.codes)[0], strict=True):
        gradient[k] += (state.codes[k] - x) / 20
    moved = -0.1 * (state.base @ (state.base.T @ gradient) + gradient.sum(axis=0))
    assert_close(rule.advance(state, Batches(batch))[0].codes - state.codes, moved, 1e-12)


def test_transvq_moves_codes_by_the_tangent_kernel():
    rule = TransVQ(step_size=1e-6, width=8, optimizer="sgd")
    state, batch = start(rule), latents(1, 20)
    units = np.eye(state.codes.size).reshape(-1, *state.codes.shape)
    jacobian = np.stack([rule.pullback(state, unit) for unit in units])
    gradient = np.zeros_like(state.codes)
    for x, k in zip(batch[0], nearest(batch[0], state.codes)[0], strict=True):
        gradient[k] += (state.codes[k] - x) / 20
    moved = -1e-6 / state.scale**2 * jacobian @ jacobian.T @ gradient.ravel()
    # the second order is a fraction eta |kernel| of the first, here about 1e-5
    assert_close((rule.advance(state, Batches(batch))[0].codes - state.codes).ravel(), moved, 1e-4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@small
def test_chunks_make_no_difference(rule, dtype):
    state, x = rule.init(latents(1, 6, dtype=dtype)[0], 0), latents(9, 4, dtype=dtype)
    whole, info = rule.advance(state, Batches(x))
    parts, distortion = state, []
    for chunk in (x[:1], x[1:1], x[1:6], x[6:]):
        parts, part_info = rule.advance(parts, Batches(chunk))
        distortion.append(part_info["distortion"])
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
    np.testing.assert_array_equal(info["distortion"], np.concatenate(distortion))
    assert whole.codes.dtype == whole.theta.dtype == dtype
    assert np.isfinite(whole.codes).all()


@small
def test_advance_counts_and_leaves_its_arguments(rule):
    state, x = start(rule), latents(5, 4)
    before = [np.array(value) for value in state]
    after, info = rule.advance(state, Batches(x))
    for value, kept in zip(state, before, strict=True):
        np.testing.assert_array_equal(value, kept)
    assert after.step == 5
    assert info["hits"].sum() == 20
    assert set(info["last_hit"]) <= {-1, 0, 1, 2, 3, 4}
    assert ((info["last_hit"] >= 0) == (info["hits"] > 0)).all()
    assert (after.codes != state.codes).all()


@small
def test_float32_follows_float64(rule):
    single, double = (rule.advance(start(rule, dtype=dtype), Batches(latents(4, 4, dtype=dtype)))[0] for dtype in "fd")
    # float32 rounds at 6e-8; sums over some ten terms, and Adam's division, leave a thousand times that
    np.testing.assert_allclose(single.codes, double.codes, rtol=0, atol=1e-4 * np.std(double.codes))


@pytest.mark.parametrize("rule", MATCHED, ids=repr)
def test_matched_start_has_mean_and_spread_of_the_codes(rule):
    codes = np.random.default_rng(0).normal([0.3, -5.0, 40.0], [0.004, 0.01, 0.02], size=(50, 3))
    made = rule.init(codes, 7).codes
    np.testing.assert_allclose(made.mean(axis=0), codes.mean(axis=0), rtol=1e-12)
    spread = [np.sqrt(np.mean((c - c.mean(axis=0)) ** 2)) for c in (made, codes)]
    assert math.isclose(*spread, rel_tol=1e-9)


def test_published_start():
    """Moments of 64 to 4,096 draws: within five standard errors."""
    codes = np.full((64, 16), 9.0)
    for rule in (SimVQ(start="published"), TransVQ(width=64, start="published")):
        state = rule.init(codes, 0)
        assert abs(state.base.var() * 16 - 1) < 5 * math.sqrt(2 / 1024)
        assert state.scale == 1
        assert not state.shift.any()
        for name, array in rule.parameters(state).items():
            if name == "positions":
                assert abs(array.var() - 1) < 5 * math.sqrt(2 / 4096)
            elif name.endswith("norm"):
                np.testing.assert_array_equal(array.reshape(-1, 2, 64)[0], [np.ones(64), np.zeros(64)])
            else:
                fan_in = {"down": 128, "down_bias": 128, "embed": 16, "weight": 16, "bias": 16}.get(name, 64)
                # variance of U(-b, b) is b^2 / 3; its square has a relative standard deviation of sqrt(4 / 5)
                assert np.abs(array).max() <= fan_in**-0.5
                assert abs(3 * fan_in * np.mean(array**2) - 1) < 5 * math.sqrt(0.8 / array.size)
    assert 0.5 < state.codes.std() < 0.7  # unit rows through W: 1 / sqrt(3)


def test_seed_makes_the_start():
    rule, codes = TransVQ(width=8), latents(1, 6)[0]
    np.testing.assert_array_equal(rule.init(codes, 3).codes, rule.init(codes, 3).codes)
    assert (rule.init(codes, 3).codes != rule.init(codes, 4).codes).all()


@pytest.mark.parametrize("rule", MATCHED, ids=repr)
def test_matched_rule_is_the_published_rule_on_standardized_latents(rule):
    """What makes a matched rule equivariant under translation and scaling, with Adam as with SGD."""
    published = replace(rule, start="published")
    matched, x = rule.init(latents(1, 6)[0], 0), latents(8, 5)
    standard = settled(published, matched._replace(shift=0 * matched.shift, scale=np.float64(1)))
    after = rule.advance(matched, Batches(x))[0]
    after_standard = published.advance(standard, Batches((x - matched.shift) / matched.scale))[0]
    assert_close(after.theta - matched.theta, after_standard.theta - standard.theta, 1e-8)


@small
def test_scaling_by_a_power_of_two_is_exact(rule):
    codes, x = latents(1, 6)[0], latents(8, 5)
    after, scaled = (rule.advance(rule.init(s * codes, 0), Batches(s * x))[0] for s in (1, 4))
    assert np.array_equal(4 * after.codes, scaled.codes) == ("scaling" in rule.equivariances)


def lloyd(x, num_codes, restarts=10):
    """Distortions of k-means solutions of a sample, from several starts."""
    distortions = []
    for seed in range(restarts):
        codes = np.random.default_rng(seed).permutation(x)[:num_codes]
        for _ in range(100):
            assignment, squared = nearest(x, codes)
            codes = np.array([x[assignment == k].mean(axis=0) for k in range(num_codes)])
        distortions.append(squared.mean())
    return distortions


def rest(rule, x, num_codes, updates=4000, chunk=250):
    """Where gradient descent on the whole of a sample ends: distortion, and norms of G and of its pullback."""
    state = rule.init(x[:num_codes], 0)
    for _ in range(updates // chunk):
        state, _ = rule.advance(state, Batches(np.repeat(x[None], chunk, axis=0)))
    assignment, squared = nearest(x, state.codes)
    gradient = np.array([(state.codes[k] - x[assignment == k]).sum(axis=0) / len(x) for k in range(num_codes)])
    return squared.mean(), np.linalg.norm(gradient), np.linalg.norm(rule.pullback(state, gradient))


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="two million assignments")
def test_transvq_rests_at_k_means_and_simvq_does_not():
    """On a fixed sample gradient descent can come to rest. Both rules do, at J^T G = 0: with a
    positive definite tangent kernel that is G = 0, k-means; four numbers for 24 coordinates leave G.
    """
    x = np.random.default_rng(0).normal(size=(500, 2))
    solutions = lloyd(x, 12)
    distortion, gradient, _ = rest(TransVQ(step_size=exponential(3e-3, half_life=500), width=16), x, 12)
    assert gradient < 1e-9
    assert min(solutions) * 0.99 < distortion < max(solutions) * 1.01  # one k-means solution among others
    distortion, gradient, pulled = rest(SimVQ(step_size=exponential(0.5, half_life=500), bias=False), x, 12)
    assert pulled < 1e-9 < 1e-2 < gradient
    assert distortion > 1.1 * max(solutions)


@pytest.mark.parametrize("rule", [TransVQ(step_size=1e200, width=8, optimizer="sgd"), SimVQ(step_size=1e200)], ids=repr)
def test_divergence_ends_in_codes_that_are_not_finite(rule):
    with np.errstate(all="ignore"):  # compiled kernels say nothing
        after, info = rule.advance(start(rule), Batches(latents(10, 4)))
    assert not np.isfinite(after.codes).all()
    assert info["hits"].sum() == 40


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TransVQ(width=256, heads=3), "'heads' parameter of TransVQ must be a divisor of the width 256. Got 3"),
        (lambda: TransVQ(depth=0), "'depth' parameter of TransVQ must be an int >= 1. Got 0"),
        (lambda: TransVQ(optimizer="adamw"), "'optimizer' parameter of TransVQ .* did you mean 'adam'"),
        (lambda: TransVQ(positions=1), "'positions' parameter of TransVQ must be True or False. Got 1"),
        (lambda: SimVQ(bias=None), "'bias' parameter of SimVQ must be True or False. Got None"),
        (lambda: SimVQ(step_size=0), "'step_size' parameter of SimVQ must be a number > 0. Got 0"),
        (lambda: SimVQ(start="random"), "'start' parameter of SimVQ must be one of the known names. Got 'random'"),
        (
            lambda: SimVQ().init(np.full((3, 2), 0.1)),
            r"start='matched': at least two different codes. Got 3 equal to \[0.1, 0.1\]",
        ),
        (lambda: SimVQ().init(np.eye(2), -1), "'seed' parameter of SimVQ.init must be an int >= 0. Got -1"),
        (lambda: SimVQ().pullback(SimVQ().init(np.eye(2)), np.ones((2, 3))), r"the codes' shape \(2, 2\). Got \(2, 3\)"),
        (
            lambda: SimVQ().advance(SimVQ().init(np.eye(2)), Batches(np.ones((1, 1, 3)))),
            r"shape \(1, 1, 3\) and codes of shape",
        ),
    ],
)
def test_errors_say_what_was_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()
