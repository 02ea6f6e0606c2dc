"""On a GPU the layer does what it does on a CPU; without one these tests are skipped."""

import copy

import pytest
import table

torch = pytest.importorskip("torch")

from vqtheory.nn import VectorQuantize  # noqa: E402
from vqtheory.nn.estimators import ESTIMATORS  # noqa: E402

if not torch.cuda.is_available():
    pytest.skip("needs a GPU", allow_module_level=True)

RANDOM = [kind for kind in ESTIMATORS.values() if kind.is_random]
GIVEN = [kind for kind in ESTIMATORS.values() if not kind.is_random]


def trained(layer, device, dtype=torch.float64, steps=3):
    """What three updates by SGD give on a device: outputs, gradients of latents, and the layer's state."""
    layer, source = copy.deepcopy(layer).to(device, dtype), torch.Generator().manual_seed(1)
    parameters = layer.codebook_parameters()
    optimizer = torch.optim.SGD(parameters, lr=0.5) if parameters else None
    results = []
    for _ in range(steps):
        z = torch.randn(2, 300, 4, generator=source, dtype=torch.float64).to(device, dtype).requires_grad_()
        output = layer(z, displacement=0.1 * z.detach())
        layer.zero_grad()
        (output.loss + output.quantized.square().mean()).backward()
        optimizer.step() if optimizer else None
        results += [output.indices, output.quantized.detach(), output.loss.detach(), z.grad]
    results += [value for value in layer.state_dict().values() if isinstance(value, torch.Tensor)]
    return [result.cpu() for result in results]


def started(rule="vq", **options):
    layer = VectorQuantize(4, 16, rule, **options)
    layer.initialize(torch.randn(600, 4, generator=torch.Generator().manual_seed(0)))
    return layer


@pytest.mark.parametrize("rule", table.LAYER, ids=repr)
def test_every_rule_is_the_same_on_both(rule):
    layer = started(rule)
    torch.testing.assert_close(trained(layer, "cuda"), trained(layer, "cpu"), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", GIVEN)
def test_every_estimator_is_the_same_on_both(kind):
    layer = started(estimator=kind())
    torch.testing.assert_close(trained(layer, "cuda"), trained(layer, "cpu"), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", RANDOM)
def test_noise_is_finite_and_repeated_by_the_seed(kind):
    layer, runs = started(estimator=kind()), []
    for _ in range(2):
        torch.manual_seed(0)
        runs.append(trained(layer, "cuda", torch.float32))
    assert all(torch.equal(*values) and values[0].isfinite().all() for values in zip(*runs, strict=True))


@pytest.mark.parametrize("rule", table.LAYER, ids=repr)
def test_under_autocast_the_codebook_keeps_its_precision(rule):
    layer = started(rule).cuda()
    z = torch.randn(2, 300, 4, generator=torch.Generator().manual_seed(1)).cuda()
    losses = []
    for enabled in (False, True):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=enabled):
            losses.append(copy.deepcopy(layer)(z, displacement=0.1 * z).loss)
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6)
