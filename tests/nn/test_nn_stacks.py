"""Stacks of quantizers: what they return and decode, how levels start, gradients, dropout, beams, and what they refuse."""

import copy
import pickle
import warnings

import pytest
import table
from processes import together

torch = pytest.importorskip("torch")

from torch.utils.checkpoint import checkpoint  # noqa: E402

import vqtheory  # noqa: E402
from vqtheory.diagnosis import calls  # noqa: E402
from vqtheory.diagnosis.diagnosis import diagnose  # noqa: E402
from vqtheory.nn import (  # noqa: E402
    GroupedQuantize,
    Monitor,
    MultiHeadQuantize,
    MultiScaleQuantize,
    Replacement,
    ResidualQuantize,
    Transport,
    VectorQuantize,
    parameter_groups,
    tuple_usage,
)
from vqtheory.nn.stacks.beams import search  # noqa: E402
from vqtheory.nn.stacks.level import left_by_others  # noqa: E402
from vqtheory.rules import EMA, NSVQ  # noqa: E402
from vqtheory.rules.base import projects  # noqa: E402
from vqtheory.theory import which_codebook  # noqa: E402


def latents(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


KINDS = {  # of 4 dimensions on maps of 4 by 4; the shape of the indices after the first axis
    "residual": (lambda **options: ResidualQuantize(4, 8, 3, **options), (4, 4, 3)),
    "of several sizes": (lambda **options: ResidualQuantize(4, [8, 6, 4], 3, **options), (4, 4, 3)),
    "shared": (lambda **options: ResidualQuantize(4, 12, 3, shared=True, **options), (4, 4, 3)),
    "projected": (lambda **options: ResidualQuantize(4, 8, 2, codebook_dim=3, **options), (4, 4, 2)),
    "grouped": (lambda **options: GroupedQuantize(4, 8, 2, **options), (4, 4, 2)),
    "grouped in levels": (lambda **options: GroupedQuantize(4, 8, 2, levels=3, **options), (4, 4, 2, 3)),
    "one for all groups": (lambda **options: GroupedQuantize(4, 8, 2, levels=3, shared=True, **options), (4, 4, 2, 3)),
    "heads": (lambda **options: MultiHeadQuantize(4, 8, 2, **options), (4, 4, 2)),
    "heads apart": (lambda **options: MultiHeadQuantize(4, 8, 2, shared=False, **options), (4, 4, 2)),
    "scales": (lambda **options: MultiScaleQuantize(4, 12, (1, 2, 4), **options), None),
    "scales apart": (lambda **options: MultiScaleQuantize(4, 4, (1, (2, 2), 4), shared=False, **options), None),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def stack_of(kind, rule="vq", **options):
    return KINDS[kind][0](rule=rule, **options)


def parts_of(indices):
    return indices if isinstance(indices, tuple) else (indices,)


def assert_equal(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert torch.equal(left, right)


@each_kind
def test_what_is_returned_is_a_sum_of_codes_to_the_bit(kind):
    """In training as well, whose codes move with the optimizer's step only."""
    stack, z = stack_of(kind), latents(6, 4, 4, 4)
    for training in (True, False):
        quantized, indices, loss, info = stack.train(training)(z)
        assert quantized.shape == z.shape
        assert torch.equal(stack.decode(indices), quantized)
        assert torch.equal(stack.get_output_from_indices(indices), stack.indices_to_codes(indices))
        assert loss.ndim == 0
        assert all(part.dtype == torch.int64 and int(part.min()) >= 0 for part in parts_of(indices))
        assert sum(int(hits.sum()) for hits in info.hits) == sum(part.numel() for part in parts_of(indices))
        assert len(info.hits) == len(info.usage) == len(info.perplexity) == len(info.distortion)
    shape = KINDS[kind][1]
    assert shape is None or indices.shape == (6, *shape)
    assert [len(rows) > 0 for rows in stack.inputs(z)] == [True] * len(info.hits)


@each_kind
def test_a_latent_gets_the_decoder_s_gradient_once(kind):
    stack, z = stack_of(kind), latents(6, 4, 4, 4).requires_grad_()
    stack(z.detach())
    (gradient,) = torch.autograd.grad((stack(z).quantized * torch.arange(6.0)[:, None, None, None]).sum(), z)
    if kind != "projected":
        torch.testing.assert_close(gradient, torch.arange(6.0)[:, None, None, None].expand_as(z), rtol=1e-5, atol=1e-6)
    stack(z).loss.backward()
    assert all(bool(parameter.grad.any()) for parameter in stack.codebook_parameters())


@each_kind
def test_levels_start_on_distinct_codes_that_are_not_zero(kind):
    """With fewer latents than codes as well, where the codes above leave nothing of any latent."""
    for number in (6, 1) if kind != "scales apart" else (6,):  # which have one latent for the first size of a map
        stack = stack_of(kind)
        with warnings.catch_warnings():
            warnings.simplefilter("error" if number == 6 else "ignore")
            stack(latents(number, 4, 4, 4))
        for codes in stack.codebooks:
            assert len(codes.unique(dim=0)) == len(codes)
            assert float(codes.square().sum(dim=1).min()) > 0


@each_kind
def test_a_copy_goes_on_alike(kind):
    rule = "ema"
    stack, z = stack_of(kind, rule, dropout=0.5), latents(6, 4, 4, 4)
    stack(z)
    again = stack_of(kind, rule, dropout=0.5)
    again.load_state_dict(stack.state_dict())
    copies = [again, pickle.loads(pickle.dumps(stack)), copy.deepcopy(stack)]
    for step in (1, 2):
        quantized, indices, _, info = stack(latents(6, 4, 4, 4, seed=step))
        for other in copies:
            theirs = other(latents(6, 4, 4, 4, seed=step))
            assert torch.equal(theirs.quantized, quantized)
            assert_equal(parts_of(theirs.indices), parts_of(indices))
            assert_equal(theirs.info.hits, info.hits)


@each_kind
def test_latents_that_are_not_finite_stay_and_count_nowhere(kind):
    stack, z = stack_of(kind), latents(6, 4, 4, 4)
    z[2] = torch.nan
    quantized, indices, loss, _ = stack(z)
    alone = copy.deepcopy(stack)(z[[0, 1, 3, 4, 5]])
    assert bool(quantized[2].isnan().all())
    assert all((part[2] == -1).all() for part in parts_of(indices))
    assert torch.equal(quantized[[0, 1, 3, 4, 5]], alone.quantized)
    torch.testing.assert_close(loss, alone.loss)
    assert not stack.decode(indices)[2].any()


@each_kind
def test_an_empty_batch_half_precision_and_a_repeated_pass(kind):
    """No latents have no loss; bfloat16 decodes to the same; activation checkpointing repeats the depths of dropout."""
    stack, z = stack_of(kind, dropout=0.5), latents(6, 4, 4, 4)
    assert float(copy.deepcopy(stack)(z[:0]).loss.detach()) == 0
    stack(z)
    half = copy.deepcopy(stack).bfloat16().eval()
    output = half(z.bfloat16())
    assert torch.equal(half.decode(output.indices).bfloat16(), output.quantized)
    gradients = []
    for call in (lambda model, x: model(x), lambda model, x: checkpoint(model, x, use_reentrant=False)):
        model, x = copy.deepcopy(stack), z.clone().requires_grad_()
        output = call(model, x)
        (output.quantized.sum() + output.loss).backward()
        gradients.append([x.grad, *(parameter.grad for parameter in model.codebook_parameters())])
        assert int(model.step) == 2
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("rule", table.PLAIN_LAYER, ids=repr)
def test_each_rule_as_a_level(rule):
    """In evaluation, since EMA moves its codes after a pass; the first codes of a level are distinct."""
    if projects(rule):
        with pytest.raises(ValueError, match="where their latents are, so that a rest is left"):
            ResidualQuantize(4, 8, 2, rule)
        stack = GroupedQuantize(4, 8, 2, rule=rule)
    else:
        stack = ResidualQuantize(4, 8, 2, ["ema", rule])
    z = latents(200, 4).requires_grad_()
    output = stack(z)
    (output.loss + output.quantized.square().sum()).backward()
    assert bool(z.grad.isfinite().all())
    assert all(len(codes.unique(dim=0)) == 8 for codes in stack.codebooks)
    quantized, indices, *_ = stack.eval()(z)
    assert torch.equal(stack.decode(indices), quantized)


ONE = {
    "residual": lambda rule: ResidualQuantize(4, 8, 1, rule),
    "shared": lambda rule: ResidualQuantize(4, 8, 1, rule, shared=True),
    "grouped": lambda rule: GroupedQuantize(4, 8, 1, rule=rule),
    "heads": lambda rule: MultiHeadQuantize(4, 8, 1, rule),
}


@pytest.mark.parametrize("rule", ["vq", "ema", "nsvq", "ibq"])
@pytest.mark.parametrize("kind", ONE)
def test_one_level_or_group_is_the_layer_to_the_bit(kind, rule):
    """Its start, indices, loss, hits and updates; its quantized latents are codes, and the layer's are up to rounding."""
    stack, layer = ONE[kind](rule), VectorQuantize(4, 8, rule)
    for step in range(3):
        z = latents(60, 4, seed=step)
        outputs = [model(z) for model in (stack, layer)]
        for model, output in zip((stack, layer), outputs, strict=True):
            parameters = model.codebook_parameters()
            pulled = output.loss + (output.quantized.sum() if rule == "ibq" else 0)
            gradients = torch.autograd.grad(pulled, parameters) if parameters else ()
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.data.sub_(0.5 * gradient)
        assert torch.equal(outputs[0].indices[..., 0], outputs[1].indices)
        assert torch.equal(outputs[0].info.hits[0], outputs[1].info.hits)
        assert torch.equal(outputs[0].loss, outputs[1].loss)
        torch.testing.assert_close(outputs[0].quantized, outputs[1].quantized, rtol=1e-6, atol=1e-6)
        assert torch.equal(stack.codebooks[0], layer.codebook)


def test_levels_move_as_they_would_alone():
    """The second as a layer on what the first leaves, whatever the first is: no gradient passes between codebooks."""
    stack, z = ResidualQuantize(4, 8, 2, ["ema", "vq"], commitment_weight=0.0), latents(60, 4)
    stack(z)
    alone = VectorQuantize(4, 8, commitment_weight=0.0)
    alone.set_codebook(stack.codebooks[1])
    rest = stack.inputs(z)[1]
    stack(z).loss.backward()
    alone(rest).loss.backward()
    assert torch.equal(stack.levels[1]._codebook.weight.grad, alone._codebook.weight.grad)


def test_a_codebook_that_levels_share_moves_once():
    """EMA's counts are those of latents and rests together."""
    stack = ResidualQuantize(4, 8, 3, EMA(0.0), shared=True)
    z = latents(60, 4)
    stack(z)
    rows = torch.cat(stack.inputs(z))
    before = stack.codebooks[0].clone()
    hits = torch.bincount(torch.cdist(rows.double(), before.double()).argmin(dim=1), minlength=8)
    info = stack(z).info
    assert torch.equal(sum(info.hits), hits)
    means = torch.stack([rows[torch.cdist(rows.double(), before.double()).argmin(dim=1) == k].mean(dim=0) for k in range(8)])
    torch.testing.assert_close(stack.codebooks[0][hits > 0], means[hits > 0], rtol=1e-3, atol=1e-3)  # but for the smoothing
    assert int(stack.levels[0].step) == 2


@pytest.mark.parametrize("kind", ["residual", "shared", "grouped in levels", "one for all groups", "scales"])
def test_dropout_of_levels(kind):
    """By the seed and the pass; the levels below see nothing of a dropped latent, and decoding the rest is the same."""
    z, runs = latents(64, 4, 4, 4), []
    for seed in (0, 0, 1):
        stack = stack_of(kind, dropout=0.5, seed=seed)
        outputs = [stack(z) for _ in range(2)]
        runs.append([parts_of(output.indices) for output in outputs])
        quantized, indices, _, info = outputs[-1]
        assert torch.equal(stack.decode(indices), quantized)
        numbers = [int(hits.sum()) for hits in info.hits]
        assert sum(numbers) == sum(int((part >= 0).sum()) for part in parts_of(indices))
    assert_equal(runs[0][1], runs[1][1])
    assert any(not torch.equal(one < 0, other < 0) for one, other in zip(runs[0][1], runs[2][1], strict=True))
    assert any(not torch.equal(one < 0, other < 0) for one, other in zip(*runs[0], strict=True))
    first = runs[0][0]
    deepest = first[-1] if kind == "scales" else first[0][..., -1]
    dropped = (deepest.reshape(64, -1) < 0).all(dim=1)
    assert torch.equal(dropped, (deepest.reshape(64, -1) < 0).any(dim=1))  # whole examples
    assert 10 <= int(dropped.sum()) <= 33  # 64 / 3 expected, five deviations of 2.4 allowed for
    assert not any(bool((part < 0).any()) for part in parts_of(stack.eval()(z).indices))


@pytest.mark.parametrize("kind", ["residual", "grouped in levels", "scales apart"])
def test_decoding_fewer_levels(kind):
    stack, z = stack_of(kind), latents(64, 4, 4, 4)
    *_, indices = stack(z)[:2]
    fewer = [indices[:count] if kind.startswith("scales") else indices[..., :count] for count in (1, 2, 3)]
    errors = [float((z - stack.decode(part)).square().mean()) for part in fewer]
    assert errors[0] > errors[1] > errors[2]


def test_beams_are_never_worse_than_the_nearest_codes():
    stack, z = ResidualQuantize(4, 16, 4), latents(400, 4)
    stack(z)
    stack.eval()
    plain = stack(z)
    errors = [(z - plain.quantized).square().sum(dim=1)]
    for beams in (2, 8):
        stack.beams = beams
        quantized, indices, loss, info = stack(z)
        assert torch.equal(stack.decode(indices), quantized)
        errors.append((z - quantized).square().sum(dim=1))
        assert bool((errors[-1] <= errors[0]).all())
        assert float(errors[-1].mean()) < 0.9 * float(errors[0].mean())
        torch.testing.assert_close(info.distortion[-1], errors[-1].mean())
        torch.testing.assert_close(loss, 1.25 * info.distortion.sum() / 4)
    stack.beams = 1
    assert torch.equal(stack(z).quantized, plain.quantized)


def test_enough_beams_find_the_best_sum():
    codebooks = [latents(5, 2, seed=seed) for seed in range(3)]
    sums = codebooks[0][:, None, None] + codebooks[1][:, None] + codebooks[2]
    z = latents(50, 2, seed=9)
    best = torch.cdist(z.double(), sums.reshape(-1, 2).double()).argmin(dim=1)
    assert torch.equal(search(z, codebooks, 125) @ torch.tensor([25, 5, 1]), best)


def test_a_start_sees_what_is_left_of_fresh_latents():
    """As wide as the rests of other latents of the same distribution, though codes are latents of the batch."""
    rows = latents(1000, 4)
    own = left_by_others(rows, rows[:500]).square().sum(dim=1)
    fresh = torch.cdist(latents(20000, 4, seed=1), rows[:500]).min(dim=1).values.square()
    assert float(own.min()) > 0
    assert float(own.mean()) == pytest.approx(float(fresh.mean()), rel=0.15)  # standard errors of 0.04


def test_codes_are_watched_carried_and_replaced_level_by_level():
    """By the parts that serve a single layer, with the codebook size that each level's own drift allows."""
    torch.manual_seed(0)
    encoder, stack = torch.nn.Linear(4, 4), ResidualQuantize(4, 8, 2, commitment_weight=0.0)
    model = torch.nn.Sequential(encoder, stack)
    z = latents(200, 4)
    stack.initialize(encoder(z).detach())
    groups = parameter_groups(model, stack, lr=0.1)
    assert [len(group["params"]) for group in groups] == [2, 2]
    optimizer = torch.optim.SGD(stack.codebook_parameters(), lr=0.1)
    monitor = Monitor(model, every=1, optimizer=optimizer)
    transport = Transport(stack.levels[0], encoder, z)
    replacement = Replacement(stack.levels[1], optimizer, every=3)
    stack.levels[1].codebook[4:] = 100
    transport.step()
    for _ in range(3):
        optimizer.zero_grad()
        model(z).loss.backward()
        optimizer.step()
        with torch.no_grad():
            encoder.bias += torch.tensor([0.5, 0, 0, 0])
        transport.step()
        monitor.step(model, z)
    assert replacement.replaced == 4
    assert monitor.names == ["model.1.chains.0.levels.0", "model.1.chains.0.levels.1"]
    rows = monitor.table
    assert rows["layer"].unique(maintain_order=True).to_list() == monitor.names
    first, second = (rows.filter(layer=name) for name in monitor.names)
    assert first["speed"].to_list()[1:] == pytest.approx([0.5, 0.5], rel=1e-4)
    assert max(second["speed"].to_list()[1:]) < 0.1  # the codes above have been carried along
    assert diagnose(monitor[monitor.names[1]]).num_codes == 8
    errors = [which_codebook(monitor[name].recording, 8).distortion for name in monitor.names]
    assert errors[1] < errors[0] / 2  # what is left is a smaller cloud


def test_a_monitor_of_a_model_sees_the_levels_of_another_package_s_stack():
    """In one pass of the probe, and no embedding of words is taken for a quantizer."""
    theirs = pytest.importorskip("vector_quantize_pytorch")
    torch.manual_seed(0)
    stack = theirs.ResidualVQ(dim=4, num_quantizers=3, codebook_size=8, kmeans_init=True)
    model = torch.nn.Sequential(torch.nn.Sequential(), stack)
    model[0].add_module("embedding", torch.nn.Embedding(5, 4))
    monitor, tokens = Monitor(model, every=1), torch.arange(5).repeat(2, 8)
    passes = []
    stack.register_forward_hook(lambda *_: passes.append(1))
    for _ in range(2):
        model(tokens)
        monitor.step(model, tokens)
    assert monitor.names == [f"model.1.layers.{level}" for level in range(3)]
    assert len(passes) == 4
    assert len(monitor.table) == 6
    with pytest.raises(ValueError, match=r"has a recording of each quantizer"):
        diagnose(monitor)
    with pytest.raises(ValueError, match=r"did you mean 'model.1.layers.1'"):
        monitor["model.1.layer.1"]


@pytest.mark.parametrize(("kind", "name"), [("residual", "chains.0.levels.1"), ("grouped", "chains.1.levels.0")])
def test_lines_of_a_diagnosis_run_for_a_level(kind, name):
    stack = ResidualQuantize(4, 8, 2) if kind == "residual" else GroupedQuantize(4, 8, 2)
    model, images = torch.nn.Sequential(torch.nn.Linear(6, 4), stack), latents(64, 6)
    monitor = Monitor(model, every=1)
    model(images)
    monitor.step(model, images)
    recording = monitor[f"model.1.{name}"].recording
    number = monitor.names.index(f"model.1.{name}")
    scope = {"vqtheory": vqtheory, "model": model, "images": images}
    exec(calls.transport(recording, EMA()), scope)
    assert torch.equal(scope["transport"].latents(), stack.inputs(model[0](images))[number])
    exec(calls.start(recording), scope)
    exec(calls.layer(recording, EMA()), scope)
    assert stack.levels[number].rule == EMA()
    model(images)
    assert torch.equal(stack.eval().decode(stack(model[0](images)).indices), stack(model[0](images)).quantized)


def test_a_probe_that_one_quantizer_cannot_use_is_of_no_use_to_the_others():
    """Latents of two probes are not compared: no encoder moves here."""

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = VectorQuantize(2, 4), VectorQuantize(2, 4)

        def forward(self, x, y):
            self.one(x)
            self.other(y)

    model = Two()
    monitor = Monitor(model, every=1)
    for shift, scale in ((0.0, torch.nan), (10.0, 1.0), (20.0, 1.0)):
        batch = latents(1, 50, 2) + shift
        model(batch, batch)
        monitor.step(model, batch, batch * scale)
    assert monitor.table["step"].to_list() == [2, 3, 2, 3]
    assert monitor.table["speed"].drop_nulls().to_list() == [0.0, 0.0]


class TestTupleUsage:
    def test_counts(self):
        indices = torch.tensor([[[0, 1], [0, 2]], [[0, 1], [3, 1]], [[1, -1], [-1, -1]]])
        found = tuple_usage(indices)
        assert (found.latents, found.distinct, found.share, found.collisions) == (4, 3, 0.75, 0.5)
        assert found.used == (2, 2)
        assert found.perplexity == pytest.approx(2**1.5)
        assert found.levels == pytest.approx((4 / 3**0.75, 4 / 3**0.75))

    @pytest.mark.parametrize(
        "indices", [[1], torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.bool), torch.full((3, 2), -1)]
    )
    def test_refused(self, indices):
        with pytest.raises(ValueError, match="tuple_usage"):
            tuple_usage(indices)


def test_two_processes_start_alike_and_count_together(tmp_path):
    script = """
        from vqtheory.nn import ResidualQuantize
        z = torch.randn(80, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        stack = ResidualQuantize(4, 8, 3, "ema").double()
        stack.initialize(z)
        for _ in range(3):
            stack(z.chunk(world)[rank])
        fresh = ResidualQuantize(4, 8, 3, "ema").double()
        fresh(z.chunk(world)[rank])
        torch.save([*stack.codebooks, *fresh.codebooks], f"{folder}/{rank}-{world}.pt")
    """
    together(script, tmp_path, (0, 1), (0, 2), (1, 2))
    one, first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("0-1", "0-2", "1-2"))
    assert_equal(first, second)
    for codes, others in zip(one[:3], first[:3], strict=True):
        torch.testing.assert_close(codes, others, rtol=0, atol=1e-12)


STACK = ResidualQuantize(4, 8, 3)
GROUPS = GroupedQuantize(4, 8, 2)
SCALES = MultiScaleQuantize(4, 8, (1, 4))
REFUSED = [
    (lambda: ResidualQuantize(4, 8, 0), "'levels' parameter of ResidualQuantize must be an int >= 1. Got 0"),
    (lambda: ResidualQuantize(4, [8, 8], 3), "an int or 3 of them, one for each level"),
    (lambda: ResidualQuantize(4, 8, 3, ["vq"]), "a rule or 3 of them, one for each level"),
    (lambda: ResidualQuantize(4, 8, 3, ["vq"] * 3, shared=True), "one rule for a codebook that levels share"),
    (lambda: ResidualQuantize(4, [8, 9, 8], 3, shared=True), "one int for a codebook that levels share"),
    (lambda: ResidualQuantize(4, 8, 3, NSVQ(form="propagate")), "needs no displacements"),
    (lambda: ResidualQuantize(4, 8, 3, dropout=1.5), "'dropout' parameter of ResidualQuantize"),
    (lambda: ResidualQuantize(4, 8, 3, beams=0), "'beams' parameter of ResidualQuantize must be an int >= 1. Got 0"),
    (lambda: ResidualQuantize(4, 8, 3, shared=True, beams=2), "1 with a codebook that levels share"),
    (lambda: GroupedQuantize(4, 8, 3), "'groups' parameter of GroupedQuantize must be a divisor of the 4 dimensions. Got 3"),
    (lambda: GroupedQuantize(4, 8, 2, levels=0), "'levels' parameter of GroupedQuantize must be an int >= 1. Got 0"),
    (lambda: GroupedQuantize(4, 8, 2, levels="2"), "'levels' parameter of GroupedQuantize must be an int >= 1. Got '2'"),
    (
        lambda: MultiHeadQuantize(4, 8, 3),
        "'heads' parameter of MultiHeadQuantize must be a divisor of the 4 dimensions. Got 3",
    ),
    (lambda: MultiScaleQuantize(4, 8, (4, 2)), "sizes that grow"),
    (lambda: MultiScaleQuantize(4, 8, ()), "at least one size"),
    (lambda: STACK(latents(2, 5)), "latents of ResidualQuantize must have the shape"),
    (lambda: STACK(latents(2, 4), mask=torch.ones(3, dtype=torch.bool)), "mask of ResidualQuantize must be bool"),
    (lambda: STACK.initialize(torch.full((2, 4), torch.nan)), "at least one latent that is finite"),
    (lambda: STACK.decode(torch.zeros(5, 4, dtype=torch.int64)), r"must have the shape \[.., 1 to 3\]. Got \(5, 4\)"),
    (lambda: STACK.decode(torch.zeros(5, 3)), "must be a tensor of integers. Got torch.float32"),
    (lambda: STACK.decode(torch.full((5, 3), 8)), r"at level 0 must be in -1 .. 7. Got 8"),
    (lambda: GROUPS.decode(torch.zeros(5, 1, dtype=torch.int64)), "of all 2 groups"),
    (lambda: SCALES(latents(2, 4, 3, 3)), r"must be maps of \(4, 4\). Got \(3, 3\)"),
    (lambda: SCALES.decode([torch.zeros(2, 1, 1, dtype=torch.int64)] * 3), "of 1 to 2 sizes. Got 3 of them"),
    (
        lambda: SCALES.decode([torch.zeros(2, 2, 2, dtype=torch.int64)]),
        r"must be integers \[b, 1, 1\]. Got torch.int64 \(2, 2, 2\)",
    ),
    (lambda: SCALES.decode([torch.zeros(2, 1, 1, dtype=torch.bool)]), r"must be integers \[b, 1, 1\]. Got torch.bool"),
    (
        lambda: SCALES.decode([torch.zeros(n, size, size, dtype=torch.int64) for n, size in ((2, 1), (3, 4))]),
        r"must be of as many maps at each size. Got \[2, 3\]",
    ),
    (lambda: STACK.decode(torch.tensor([[-2, 3]])), "at level 0 must be in -1 .. 7. Got -2"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
