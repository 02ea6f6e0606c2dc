"""Estimators: what they give forward, and their gradients against closed forms and differences of what they say they are."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.checkpoint import checkpoint  # noqa: E402

from vqtheory.nn import VectorQuantize, resume, train  # noqa: E402
from vqtheory.nn.codebooks import RULES, Codebook  # noqa: E402
from vqtheory.nn.estimators import (  # noqa: E402
    ESTIMATORS,
    CentredRotation,
    CodeGradient,
    DiVeQ,
    GumbelSoftmax,
    Lookup,
    Reflection,
    Rotation,
    SpaceFillingDiVeQ,
    Synchronised,
    TangentRotation,
    UnscaledRotation,
    estimator_of,
    text_of,
)
from vqtheory.nn.ops import noise, search  # noqa: E402
from vqtheory.nn.ops.search import assign  # noqa: E402
from vqtheory.nn.training.config import TrainingConfig  # noqa: E402
from vqtheory.schedules import cosine, exponential, linear  # noqa: E402
from vqtheory.streams.closed_loop import turned_back  # noqa: E402

PLAIN = [kind() for kind in ESTIMATORS.values() if not kind.is_random]
NOT_PLAIN = (GumbelSoftmax, SpaceFillingDiVeQ)
SOFT = [name for name, rule in RULES.items() if Codebook.of(rule).soft]


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def lookup(latents, codes, *, training=True, step=0):
    """Of the nearest codes."""
    indices = assign(latents, codes)
    chosen, keep = torch.nn.functional.embedding(indices, codes), torch.ones(len(latents), dtype=torch.bool)
    return Lookup(latents, codes, indices, chosen, keep, torch.tensor(step), 0, training)


def pair(latents, chosen):
    """Of given pairs."""
    keep = torch.ones(len(latents), dtype=torch.bool)
    return Lookup(latents, chosen, torch.arange(len(latents)), chosen, keep, torch.tensor(0), 0, True)


def gradients(estimator, latents, codes, gradient, of=lookup):
    """Of latents and codes, where that of the quantized latents is given; zeros where there is none."""
    latents, codes = latents.clone().requires_grad_(), codes.clone().requires_grad_()
    estimator(of(latents, codes)).backward(gradient)
    return latents.grad, torch.zeros_like(codes) if codes.grad is None else codes.grad


def differences(function, values):
    """The gradient of a scalar function of an array, by central differences."""
    steps = 1e-6 * torch.eye(values.numel(), dtype=values.dtype).view(-1, *values.shape)
    slopes = [(function(values + step) - function(values - step)) / 2e-6 for step in steps]
    return torch.stack(slopes).view_as(values)


@pytest.mark.parametrize("kind", ESTIMATORS.values())
def test_forward_is_the_plain_lookup(kind):
    """In training all but Gumbel, the space-filling form and DiVeQ's noise; in evaluation all but the curve."""
    z, codes = randn(40, 5), randn(9, 5, seed=1)
    quiet = DiVeQ(variance=0) if kind is DiVeQ else kind()
    plain = SpaceFillingDiVeQ(curve=False) if kind is SpaceFillingDiVeQ else kind()
    for training, estimator in ((True, quiet), (False, plain)):
        batch = lookup(z, codes, training=training)
        if not training or kind not in NOT_PLAIN:
            torch.testing.assert_close(estimator(batch), batch.chosen, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ESTIMATORS.values())
def test_opposite_and_zero_vectors_have_finite_gradients(kind):
    """Straight through where a latent has no direction, however long its code is; the last one is the mean of all codes."""
    z = [[1.0, 2.0], [1.0, 1.0], [3.0, 4.0], [1e-30, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1e-37, 0.0], [0.0, 0.0]]
    c = [[-2.0, -4.0], [0.0, 0.0], [3.0, 4.0], [-1.0, 1e-30], [1.0, 0.0], [0.0, 0.0], [6.0, 8.0], [-8.0, 6.0], [-6.0, 8.0]]
    z, c = (torch.tensor(values, dtype=torch.float32) for values in (z, c))
    z[-1] = c.mean(dim=0)
    estimator = kind(variance=0) if issubclass(kind, DiVeQ) else kind()
    moved, pulled = gradients(estimator, z, c, torch.ones_like(z), pair)
    for part in (estimator(pair(z, c)), moved, pulled):
        assert part.isfinite().all()
    if kind in (Rotation, TangentRotation, UnscaledRotation, Reflection):
        assert (moved[4:-1] == 1).all()
    elif kind is CentredRotation:
        assert (moved[-1] == 1).all()


def matrices(z, c):
    """The rotation that turns each latent's direction to its code's, and the reflection that does."""
    unit = torch.eye(z.shape[1], dtype=z.dtype)
    e, q = (x / x.norm(dim=1, keepdim=True) for x in (z, c))
    h, w = (x / x.norm(dim=1, keepdim=True) for x in (e + q, e - q))
    outer = lambda a, b: a[:, :, None] * b[:, None]  # noqa: E731
    return unit - 2 * outer(h, h) + 2 * outer(q, e), unit - 2 * outer(w, w), unit - outer(e, e)


def test_turned_gradients_are_the_matrices_own():
    z, c, g = (randn(30, 4, seed=seed) for seed in range(3))
    rotation, reflection, tangent = matrices(z, c)
    e, q = z / z.norm(dim=1, keepdim=True), c / c.norm(dim=1, keepdim=True)
    torch.testing.assert_close((rotation @ e[..., None])[..., 0], q)
    torch.testing.assert_close((reflection @ e[..., None])[..., 0], q)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(4, dtype=z.dtype).expand(30, 4, 4))
    scale, length = (c.norm(dim=1) / z.norm(dim=1))[:, None, None], z.norm(dim=1)[:, None, None]
    wanted = {
        "rotation": scale * rotation.mT,
        "rotation-tangent": scale * tangent @ rotation.mT,
        "rotation-unscaled": tangent @ rotation.mT / length,
        "reflection": scale * reflection,
    }
    for name, matrix in wanted.items():
        moved, codes = gradients(ESTIMATORS[name](), z, c, g, pair)
        torch.testing.assert_close(moved, (matrix @ g[..., None])[..., 0])
        assert not codes.any()
    for name in ("rotation-tangent", "rotation-unscaled"):
        moved = gradients(ESTIMATORS[name](), z, c, g, pair)[0]
        assert (moved * e).sum(dim=1).abs().max() < 1e-13
    middle = c.mean(dim=0)
    centred = gradients(ESTIMATORS["rotation"](), z - middle, c - middle, g, pair)[0]
    torch.testing.assert_close(gradients(ESTIMATORS["rotation-centred"](), z, c, g, pair)[0], centred)
    far = gradients(ESTIMATORS["rotation-centred"](), z + 100, c + 100, g, pair)[0]
    torch.testing.assert_close(far, centred, rtol=1e-9, atol=1e-9)
    ours = turned_back(g.numpy(), z.numpy(), c.numpy())
    np.testing.assert_allclose(gradients(ESTIMATORS["rotation"](), z, c, g, pair)[0], ours, rtol=1e-12, atol=1e-13)


def pairs_at_extreme_angles(dtype):
    """Latents and codes, 50 pairs of each case: on the ray of the code first, without a direction between them last.

    Those are opposite, but for rounding at most, or have a squared length that is no number of full digits.
    """
    c, aside = randn(50, 5, dtype=dtype), randn(50, 5, seed=1, dtype=dtype)
    size = 0.1 + 3 * torch.rand(50, 1, generator=torch.Generator().manual_seed(2), dtype=dtype)
    aside -= (aside * c).sum(dim=1, keepdim=True) / c.square().sum(dim=1, keepdim=True) * c
    next_to = torch.nextafter(c, c + aside)
    near = [size * c, next_to, *(size * (c + angle * aside) for angle in (1e-7, 1e-5, 1e-3)), 1e-17 * aside]
    far = [-size * (c + angle * aside) for angle in (1e-5, 1e-3)]
    without = [-size * c, -next_to, torch.finfo(dtype).tiny ** 0.6 * aside, torch.finfo(dtype).max ** 0.6 * aside]
    cases = near + far + without
    return torch.cat(cases), c.repeat(len(cases), 1), torch.arange(50 * len(cases)) >= 50 * len(near + far)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_at_any_angle_the_value_is_the_code_and_the_map_orthogonal(dtype):
    z, c, without = pairs_at_extreme_angles(dtype)
    eps, unit = torch.finfo(dtype).eps, torch.eye(5, dtype=dtype)
    for kind in (Rotation, TangentRotation, UnscaledRotation, Reflection):
        assert ((kind()(pair(z, c)) - c).norm(dim=1) <= 20 * eps * c.norm(dim=1)).all()
    for kind in (Rotation, Reflection):
        columns = [gradients(kind(), z, c, one.expand_as(z), pair)[0] for one in unit]
        matrix = torch.stack(columns, dim=2).double()
        straight = (matrix == unit).all(dim=2).all(dim=1)
        if kind is Rotation:
            assert torch.equal(straight, without)
        else:  # opposite vectors have a reflection; on the ray it is 1
            assert straight[-100:].all()
            assert not straight[100:-100].any()
        matrix[~straight] *= (z.double().norm(dim=1) / c.double().norm(dim=1))[~straight, None, None]
        assert (matrix @ matrix.mT - unit).abs().max() < 40 * eps


@pytest.mark.parametrize("name", ["rotation", "rotation-centred", "rotation-tangent", "rotation-unscaled", "reflection"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_layer_s_output_on_the_ray_of_a_code_or_opposite_it_is_the_code(name, dtype):
    """In half precision too, which the layer leaves for float32."""
    layer = VectorQuantize(3, 2, estimator=name)
    layer.initialize(randn(50, 3, dtype=torch.float32))
    latents = torch.linspace(-3, 3, 300)[:, None, None] * layer.codebook
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype != torch.float32):
        quantized, indices, *_ = layer.eval()(latents.to(dtype))
    assert quantized.dtype == dtype
    torch.testing.assert_close(quantized, layer.codebook[indices].to(dtype), rtol=0, atol=20 * torch.finfo(dtype).eps)


def test_straight_gradients():
    z, codes, g = randn(12, 3), randn(5, 3, seed=1), randn(12, 3, seed=2)
    sums = torch.zeros_like(codes).index_add_(0, assign(z, codes), g)
    for estimator, share in (("straight-through", 0), ("code-gradient", 2 / 36), (Synchronised(1.5), 1.5)):
        moved, pulled = gradients(estimator_of("test", estimator), z, codes, g)
        torch.testing.assert_close(moved, g)
        torch.testing.assert_close(pulled, share * sums)


@pytest.mark.parametrize("estimator", [DiVeQ(0.01), DiVeQ(0), SpaceFillingDiVeQ(0.01)], ids=repr)
def test_diveq_against_differences_of_its_surrogate(estimator):
    """z + s |t - z| v summed over its targets t, with the directions v and the shares s held where they are."""
    z, codes, g = randn(12, 3), randn(5, 3, seed=1), randn(12, 3, seed=2)
    batch = lookup(z, codes)
    if isinstance(estimator, SpaceFillingDiVeQ):
        first, share = estimator._places(batch)
        ends = [(first, 1 - share), (first + 1, share)]
    else:
        ends = [(batch.indices, torch.ones(12, 1, dtype=z.dtype))]
    ways = [
        estimator._step(batch, codes[end], i) / (codes[end] - z).norm(dim=1, keepdim=True) for i, (end, _) in enumerate(ends)
    ]

    def surrogate(latents, moved):
        steps = (s * (moved[end] - latents).norm(dim=1, keepdim=True) * v for (end, s), v in zip(ends, ways, strict=True))
        return ((latents + sum(steps)) * g).sum()

    assert float(surrogate(z, codes)) == pytest.approx(float((estimator(batch) * g).sum()), rel=1e-12)
    own, pulled = gradients(estimator, z, codes, g)
    torch.testing.assert_close(own, differences(lambda x: surrogate(x, codes), z), rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(pulled, differences(lambda c: surrogate(z, c), codes), rtol=1e-7, atol=1e-8)


def test_diveqs_noise_keeps_the_length_and_is_of_training_alone():
    z, codes = randn(4000, 3), randn(5, 3, seed=1)
    batch, again, later = lookup(z, codes), lookup(z, codes), lookup(z, codes, step=1)
    noisy = DiVeQ(0.5)(batch)
    torch.testing.assert_close((noisy - z).norm(dim=1), (batch.chosen - z).norm(dim=1))
    assert (noisy - batch.chosen).norm(dim=1).median() > 0.1
    assert torch.equal(noisy, DiVeQ(0.5)(again))
    assert not torch.equal(noisy, DiVeQ(0.5)(later))
    rows = noise.rows(z, torch.tensor(3), seed=5)
    assert abs(rows.mean()) < 4 / 12_000**0.5
    assert abs(rows.square().mean() - 1) < 4 * (2 / 12_000) ** 0.5


def test_the_curve_has_the_nearest_of_its_points():
    """In evaluation no point of the two segments at the nearest code is nearer; in training a point of a segment."""
    z, codes = randn(50, 2), randn(6, 2, seed=1)
    batch = lookup(z, codes, training=False)
    curve = SpaceFillingDiVeQ(0)(batch)
    grid = torch.linspace(0, 1, 1001, dtype=z.dtype)[:, None, None]
    for latent, index, point in zip(z, batch.indices, curve, strict=True):
        first = torch.arange(max(0, int(index) - 1), min(4, int(index)) + 1)
        along = codes[first] + grid * (codes[first + 1] - codes[first])
        nearest = (along - latent).norm(dim=2).min()
        assert nearest - 2e-6 - 5e-3**2 < (point - latent).norm() <= nearest + 1e-12
    trained = lookup(z, codes)
    first, share = SpaceFillingDiVeQ(0)._places(trained)
    torch.testing.assert_close(SpaceFillingDiVeQ(0)(trained), codes[first] + share * (codes[first + 1] - codes[first]))
    assert len(share.unique()) == len(first.unique()) > 1


@pytest.mark.parametrize("hard", [False, True])
def test_gumbel_is_the_mixture_and_its_gradient(hard, monkeypatch):
    """Against autograd through the whole [N, K] array, in blocks and not, with the noise of the pass."""
    z, codes, g = randn(70, 3), randn(6, 3, seed=1), randn(70, 3, seed=2)
    estimator = GumbelSoftmax(exponential(0.7, half_life=4), scale=1.3, hard=hard)
    places = torch.arange(6)[:, None] + 6 * torch.arange(70)

    def whole(latents, codes, step):
        logits = -torch.cdist(codes, latents).square() / 1.3 + noise.gumbel(places, torch.tensor(step), 0, z.dtype)
        y = (logits / estimator.temperature(step)).softmax(dim=0)
        if hard:
            y = torch.nn.functional.one_hot(y.argmax(dim=0), 6).T.to(y.dtype) + y - y.detach()
        return y.T @ codes

    for block, step in ((search._BLOCK["cpu"], 0), (32 * 6, 3)):
        monkeypatch.setitem(search._BLOCK, "cpu", block)
        at = lambda latents, codes, step=step: lookup(latents, codes, step=step)  # noqa: E731
        one, other = z.clone().requires_grad_(), codes.clone().requires_grad_()
        (wanted := whole(one, other, step)).backward(g)
        torch.testing.assert_close(estimator(at(z, codes)), wanted.detach())
        moved, pulled = gradients(estimator, z, codes, g, at)
        torch.testing.assert_close(moved, one.grad)
        torch.testing.assert_close(pulled, other.grad)


def test_gumbels_draws_are_those_of_the_softmax():
    """Hard: codes by exp(l); at a small temperature the mixture is the same code."""
    z, codes = torch.zeros(20_000, 2, dtype=torch.float64), randn(4, 2, seed=1)
    drawn = GumbelSoftmax(1.0, hard=True)(lookup(z, codes))
    share = torch.stack([(drawn == code).all(dim=1).double().mean() for code in codes])
    wanted = torch.softmax(-codes.square().sum(dim=1), dim=0)
    assert ((share - wanted).abs() < 4 * (wanted / 20_000).sqrt()).all()
    cold = GumbelSoftmax(exponential(1.0, half_life=1))(lookup(z, codes, step=2000))
    torch.testing.assert_close(cold, drawn_again(z, codes, 2000))
    for step in (2, 5):  # to 0 and below
        at = lambda latents, codes, step=step: lookup(latents, codes, step=step)  # noqa: E731
        torch.testing.assert_close(GumbelSoftmax(lambda t: 1 - 0.5 * t)(at(z, codes)), drawn_again(z, codes, step))
        assert not gradients(GumbelSoftmax(lambda t: 1 - 0.5 * t), z, codes, torch.ones_like(z), at)[0].any()


def drawn_again(z, codes, step):
    return GumbelSoftmax(1.0, hard=True)(lookup(z, codes, step=step))


def test_no_array_of_latents_by_codes_is_kept():
    z, codes = randn(1024, 4).requires_grad_(), randn(1024, 4, seed=1).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        GumbelSoftmax()(lookup(z, codes))
    assert sum(kept) < 10 * (z.numel() + codes.numel()) < z.shape[0] * codes.shape[0]


@pytest.mark.parametrize("kind", [kind for kind in ESTIMATORS.values() if kind.is_random or kind is Synchronised])
def test_in_the_layer(kind):
    """A pass that checkpointing repeats has the same noise; a mask leaves latents out; EMA goes with most."""
    layer = VectorQuantize(3, 8, estimator=kind())
    layer.initialize(randn(50, 3, dtype=torch.float32))
    results = []
    for again in (False, True):
        own, z = copy.deepcopy(layer), randn(2, 20, 3, seed=3, dtype=torch.float32).requires_grad_()
        call = lambda z, own=own: own(z, mask=torch.arange(20).repeat(2, 1) < 15)  # noqa: E731
        output = checkpoint(call, z, use_reentrant=False) if again else call(z)
        (output.loss + output.quantized.square().sum()).backward()
        assert torch.equal(output.quantized[:, 15:], z[:, 15:])
        results.append([output.quantized.detach(), z.grad, own._codebook.weight.grad])
    assert all(torch.equal(*values) for values in zip(*results, strict=True))
    assert results[0][2].any()
    if not kind.needs_trained_codes:
        averaged = VectorQuantize(3, 8, "ema", estimator=kind())
        averaged(z := randn(2, 20, 3, seed=3, dtype=torch.float32).requires_grad_()).quantized.square().sum().backward()
        assert z.grad.isfinite().all()


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated:DeprecationWarning")
def test_compiled_it_is_one_graph_with_the_same_gradients():
    torch.compiler.reset()
    layer = VectorQuantize(3, 8, estimator="gumbel")
    layer.initialize(randn(50, 3, dtype=torch.float32))
    compiled = copy.deepcopy(layer)
    call, results = torch.compile(compiled, backend="aot_eager", fullgraph=True), []
    for function in (layer, call):
        z = randn(2, 20, 3, seed=3, dtype=torch.float32).requires_grad_()
        function(z).quantized.square().sum().backward()
        results.append(z.grad)
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_alternating_the_codes_step_first_and_by_the_same_indices(optimizer):
    """As one step of a copy, then its codes at the indices from before; the step outside leaves codes and moments alone.

    Gradients that were there before the pass are there after it.
    """
    layer = VectorQuantize(3, 8, "vq")
    layer.initialize(randn(50, 3, dtype=torch.float32))
    plain = copy.deepcopy(layer)
    z = randn(2, 20, 3, seed=3, dtype=torch.float32)
    first = plain(z)
    first.loss.backward()
    (own := optimizer(plain.codebook_parameters(), lr=0.5)).step()
    inner = optimizer(layer.codebook_parameters(), lr=0.5)
    layer.step_inside(inner)
    (codes,) = layer.codebook_parameters()
    codes.grad = torch.ones_like(codes)
    output = layer(z.requires_grad_())
    assert codes.grad is not None
    assert (codes.grad == 1).all()
    codes.grad = None
    assert torch.equal(layer.codebook, plain.codebook)
    assert torch.equal(output.indices, first.indices)
    torch.testing.assert_close(output.quantized, plain.codebook[first.indices])
    moments = copy.deepcopy(inner.state_dict()["state"])
    (output.loss + output.quantized.square().sum()).backward()
    inner.step()
    assert torch.equal(layer.codebook, plain.codebook)
    assert str(inner.state_dict()["state"]) == str(moments) == str(own.state_dict()["state"])
    with pytest.raises(RuntimeError, match="cannot repeat a pass in which the codebook has stepped"):
        checkpoint(layer, z, use_reentrant=False).loss.backward()
    plain.set_codebook(layer.codebook)
    layer.eval()
    assert torch.equal(layer(z).quantized.detach(), plain.eval()(z).quantized.detach())
    with pytest.raises(ValueError, match=r"must be the optimizer of all codebook_parameters\(\) alone"):
        layer.step_inside(optimizer([*layer.codebook_parameters(), torch.nn.Parameter(z.detach())]))


def test_a_training_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    """With a schedule of the temperature, noise by the update, and the codebook's step inside."""
    monkeypatch.delenv("VQTHEORY_DATA", raising=False)
    tiny = {"codes": 16, "dim": 4, "size": 16, "records": 1, "alternate": True, "progress": False}
    tiny |= {"estimator": "GumbelSoftmax(temperature=exponential(1.0, half_life=2), scale=0.1)"}
    whole = train(**tiny, steps=4)
    train(**tiny, steps=2, save=tmp_path)
    for one, other in zip(whole.model.parameters(), resume(tmp_path, 4, progress=False).model.parameters(), strict=True):
        assert torch.equal(one, other)
    straight = train(**tiny | {"estimator": "straight-through"}, steps=4)
    assert not torch.equal(straight.quantizer.codebook, whole.quantizer.codebook)


def test_configurations():
    for text in ("rotation", "DiVeQ(variance=0.0001)", "GumbelSoftmax(temperature=exponential(1.0, half_life=50))"):
        config = TrainingConfig(estimator=text, alternate=True, codebook_weight=0)
        assert config.estimator == text == text_of(estimator_of("test", text))
        assert TrainingConfig.parse(repr(config)) == config
    assert TrainingConfig(estimator=DiVeQ()).estimator == "diveq"
    assert VectorQuantize(4, 8, estimator="code-gradient", code_gradient=3).estimator == CodeGradient(3)
    assert VectorQuantize(4, 8, estimator="code-gradient").estimator == CodeGradient()


def alternating(rule):
    layer = VectorQuantize(4, 8, rule)
    layer.step_inside(torch.optim.SGD(layer.codebook_parameters(), lr=0.5))


REFUSED = [
    (lambda: GumbelSoftmax(0), "'temperature' parameter of GumbelSoftmax must be a number > 0. Got 0."),
    (lambda: GumbelSoftmax(-1.0), "'temperature' parameter of GumbelSoftmax must be a number > 0. Got -1"),
    (lambda: GumbelSoftmax(linear(1.0, 0.0, steps=10)), "'temperature' parameter of GumbelSoftmax must be a number > 0"),
    (
        lambda: GumbelSoftmax(cosine(1.0, -0.5, steps=9)),
        "'temperature' parameter of GumbelSoftmax must be a number > 0. Got -",
    ),
    (lambda: GumbelSoftmax(scale=0), "'scale' parameter of GumbelSoftmax"),
    (lambda: DiVeQ(-1), "'variance' parameter of DiVeQ must be a number >= 0. Got -1."),
    (lambda: SpaceFillingDiVeQ(curve=1), "'curve' parameter of SpaceFillingDiVeQ"),
    (lambda: Synchronised(-1), "'nu' parameter of Synchronised must be a number >= 0. Got -1."),
    (lambda: VectorQuantize(4, 8, estimator="rotatio"), "did you mean 'rotation'"),
    (lambda: VectorQuantize(4, 8, "ema", estimator="synchronised"), "needs no gradient of the codes"),
    (lambda: VectorQuantize(4, 1, estimator="space-filling-diveq"), "at least 2 for the estimator"),
    (lambda: VectorQuantize(4, 8, code_gradient=7), "left out with an estimator other than 'code-gradient'. Got 7.0."),
    *(
        (lambda rule=rule: alternating(rule), "step_inside takes no rule that passes the decoder's gradient")
        for rule in SOFT
    ),
    *(
        (lambda rule=rule: TrainingConfig(rule, alternate=True), "'alternate' parameter of train must be False with a rule")
        for rule in SOFT
    ),
    (lambda: TrainingConfig("ema", alternate=True), "'alternate' parameter of train must be False with a rule that has"),
    (
        lambda: TrainingConfig(replace_every=5, alternate=True),
        "'replace_every' parameter of train must be None with alternate",
    ),
    (lambda: TrainingConfig("lfq", alternate=True), "'alternate' parameter of train must be False with a quantizer"),
    (lambda: TrainingConfig(alternate=1), "'alternate' parameter of train must be True or False. Got 1."),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
