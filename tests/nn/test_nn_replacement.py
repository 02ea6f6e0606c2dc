"""Replacement of dead codes: what it revives, what it leaves alone, what is left of the optimizer's memory."""

import copy
import re
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import table
from processes import together

torch = pytest.importorskip("torch")

from vqtheory import Batches, rules  # noqa: E402
from vqtheory.cli import app  # noqa: E402
from vqtheory.nn import Replacement, VectorQuantize, step_size  # noqa: E402
from vqtheory.nn.training.config import TrainingConfig  # noqa: E402
from vqtheory.nn.training.loop import resume, train  # noqa: E402
from vqtheory.nn.training.run import TrainingRun  # noqa: E402
from vqtheory.rules import EMA, VQ  # noqa: E402
from vqtheory.rules.replacement import POLICIES  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:The codebook of .* codes starts on"),  # of a few latents
    pytest.mark.filterwarnings("ignore:Replacement has at least"),  # in small batches
]
ALIVE, DEAD = slice(0, 3), slice(3, 8)


def latents(*shape, seed=0):
    """About (1, 1, 1, 1), where no code that is `DEAD` is."""
    return 1 + 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def collapsed(rule="vq", **options):
    """A layer of 8 codes, 3 among the latents and 5 on the other side of the origin; and an optimizer."""
    layer = VectorQuantize(4, 8, rule, **options)
    layer.initialize(torch.cat([latents(3, 4, seed=9), -9 - torch.rand(5, 4)]))
    order = layer.codebook.sum(dim=1).argsort(descending=True)
    layer._codebook.load(layer.rule.init(layer.codebook[order].double().numpy()))
    model = torch.nn.ModuleList([layer, torch.nn.Linear(1, 1)])
    return layer, torch.optim.Adam(model.parameters(), lr=1e-3)


def update(layer, optimizer, seed=0):
    optimizer.zero_grad()
    found = layer(latents(1, 20, 4, seed=seed))
    if found.loss.requires_grad:
        found.loss.backward()
    optimizer.step()
    return found


class TestWhatItDoes:
    @pytest.mark.parametrize("rule", table.STAY_DEAD, ids=repr)
    def test_dead_codes_come_to_life_on_latents_of_the_batch(self, rule):
        layer, optimizer = collapsed(rule)
        replacement = Replacement(layer, optimizer, every=3)
        for seed in range(3):
            dead = layer.codebook[DEAD].clone()
            assert int(update(layer, optimizer, seed).info.hits[DEAD].sum()) == 0
        assert replacement.replaced == 5
        batch = layer._codebook.project(latents(20, 4, seed=2))
        same = (layer.codebook[DEAD, None] - batch).abs().amax(dim=2) < 1e-6
        assert same.any(dim=1).all(), "each is on a latent of the last batch"
        assert int(same.any(dim=0).sum()) == 5, "of its own"
        assert not torch.allclose(layer.codebook[DEAD], dead)
        assert (update(layer, optimizer, 2).info.hits[DEAD] > 0).all()

    @pytest.mark.parametrize("rule", table.STAY_DEAD, ids=repr)
    def test_without_it_they_stay_dead(self, rule):
        layer, optimizer = collapsed(rule)
        for seed in range(20):
            assert int(update(layer, optimizer, seed).info.hits[DEAD].sum()) == 0

    @pytest.mark.parametrize("rule", table.WITH_ROWS, ids=repr)
    def test_until_it_is_due_nothing_changes(self, rule):
        one, two = collapsed(rule), collapsed(rule)
        one[0].load_state_dict(two[0].state_dict())
        Replacement(*one, every=6)
        for seed in range(5):
            for layer, optimizer in (one, two):
                update(layer, optimizer, seed)
        assert torch.equal(one[0].codebook, two[0].codebook)

    def test_codes_that_are_chosen_stay_to_the_bit(self):
        one, two = collapsed(), collapsed()
        one[0].load_state_dict(two[0].state_dict())
        Replacement(*one, every=1)
        for layer, optimizer in (one, two):
            update(layer, optimizer)
        assert torch.equal(one[0].codebook[ALIVE], two[0].codebook[ALIVE])

    def test_least(self):
        """With a threshold above all hits every code is replaced; hits are those since the replacement before."""
        layer, optimizer = collapsed()
        replacement = Replacement(layer, optimizer, every=2, least=41)
        for count, wanted in enumerate([0, 8, 8, 16], start=1):
            update(layer, optimizer, count)
            assert (replacement.updates, replacement.replaced) == (count, wanted)

    def test_hits_are_those_since_the_replacement_before(self):
        layer, optimizer = collapsed()
        replacement = Replacement(layer, optimizer, every=2)
        for seed in range(2):
            update(layer, optimizer, seed)
        layer.codebook[ALIVE] = -9.0
        for seed in range(2, 4):
            assert int(update(layer, optimizer, seed).info.hits[ALIVE].sum()) == 0
        assert replacement.replaced == 5 + 3

    def test_no_more_codes_than_latents(self):
        layer, optimizer = collapsed()
        replacement = Replacement(layer, optimizer, every=1)
        layer(latents(1, 2, 4))
        optimizer.step()
        assert replacement.replaced == 2

    def test_masked_latents_are_no_place_for_codes(self):
        layer, optimizer = collapsed()
        replacement = Replacement(layer, optimizer, every=1)
        z, mask = latents(1, 20, 4), torch.arange(20)[None] < 6
        z[~mask] = 1e6
        layer(z, mask=mask)
        optimizer.step()
        assert replacement.replaced >= 5
        assert float(layer.codebook.max()) < 2

    def test_no_two_codes_on_one_latent(self):
        """Nor on one where a code is already: of 20 latents 4 are distinct, and one of them is a code that is alive."""
        layer, optimizer = collapsed()
        corners = 1 + torch.eye(4)
        layer._codebook.load(layer.rule.init(torch.cat([corners[:1], layer.codebook[1:] - 9]).double().numpy()))
        replacement = Replacement(layer, optimizer, every=1)
        z = corners.repeat(5, 1)[None]
        layer(z)
        z.fill_(float("nan"))  # a buffer that the loop uses again
        optimizer.step()
        assert replacement.replaced == 3
        placed = layer.codebook[(layer.codebook > 0).all(dim=1)]
        assert torch.equal(placed.unique(dim=0), corners.unique(dim=0))
        assert len(placed) == 4

    def test_nothing_is_put_on_latents_that_are_not_finite_and_frozen_codes_stay(self):
        layer, optimizer = collapsed()
        replacement = Replacement(layer, optimizer, every=1)
        z = latents(1, 20, 4)
        z[0, 3:] = float("inf")
        layer(z[:, :3])
        replacement._seen = z.clone(), torch.zeros(1, 20, dtype=torch.int64)
        optimizer.step()
        assert replacement.replaced == 3
        assert layer.codebook.isfinite().all()
        before = layer.codebook.clone()
        layer.requires_grad_(False)
        layer(latents(1, 20, 4, seed=5))
        optimizer.step()
        assert (replacement.updates, replacement.replaced) == (2, 3)
        assert torch.equal(layer.codebook, before)
        with pytest.raises(ValueError, match=r"The state must be of 8 codes. Got 9."):
            replacement.load_state_dict(replacement.state_dict() | {"hits": torch.zeros(9)})
        with pytest.raises(ValueError, match=r"must be of policy='random'. Got one of policy='oldest'."):
            replacement.load_state_dict(replacement.state_dict() | {"policy": "oldest"})

    @pytest.mark.parametrize("policy", ["random", "oldest"])
    def test_a_threshold_without_end_is_said_once_however_late_the_first_batch_is(self, policy):
        """After two periods and a half of evaluation; a run that goes on does not say it again."""
        layer, optimizer = collapsed()
        replacement = Replacement(layer, optimizer, every=2, policy=policy)
        layer.eval()
        for _ in range(5):
            update(layer, optimizer)
        layer.train()
        sentences = []
        for _ in range(4):  # each time by a new one that has read the state of the one before
            state = replacement.state_dict()
            replacement.remove()
            replacement = Replacement(layer, optimizer, every=2, policy=policy)
            replacement.load_state_dict(state)
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                layer(latents(1, 1, 4))
                optimizer.step()
            sentences += [str(warning.message) for warning in warned]
        assert len(sentences) == 1
        assert sentences[0].startswith("Replacement has at least 6 of 8 codes to replace per 2 updates")

    def test_evaluation_does_not_count(self):
        layer, optimizer = collapsed()
        replacement = Replacement(layer, optimizer, every=1)
        layer.eval()
        layer(latents(1, 20, 4))
        optimizer.step()
        assert replacement.replaced == 0

    def test_projected_latents_and_a_given_name(self):
        layer = VectorQuantize(6, 8, codebook_dim=2)
        layer.set_codebook(torch.full((8, 2), 100.0))
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
        Replacement(layer, optimizer, every=1)
        z = latents(1, 6, 3, 3)
        layer(latents=z)
        torch.optim.SGD(layer.parameters(), lr=0.0).step()
        assert float(layer.codebook.max()) == 100, "another optimizer's step is no update"
        optimizer.step()
        distance = torch.cdist(layer.codebook, layer.project(z).detach()).min(dim=1).values
        assert float(distance[1:].max()) < 1e-6, "of equal codes the first is chosen, and stays"

    def test_global_randomness_is_left_alone_and_the_seed_decides(self):
        found = []
        for seed in (0, 0, 1):
            torch.manual_seed(7)
            layer, optimizer = collapsed()
            wanted = torch.get_rng_state()
            Replacement(layer, optimizer, every=1, seed=seed)
            update(layer, optimizer)
            assert torch.equal(torch.get_rng_state(), wanted)
            found.append(layer.codebook)
        assert torch.equal(found[0], found[1])
        assert not torch.equal(found[0], found[2])

    def test_in_a_compiled_model(self):
        found, graphs = [], set()
        for compiles in (False, True):
            layer, optimizer = collapsed()
            replacement = Replacement(layer, optimizer, every=2)
            call = torch.compile(layer, backend="eager", fullgraph=True) if compiles else layer
            torch.compiler.reset()
            for seed in range(5):
                optimizer.zero_grad()
                call(latents(1, 20, 4, seed=seed)).loss.backward()
                optimizer.step()
                if compiles:
                    graphs.add(torch._dynamo.utils.counters["stats"]["unique_graphs"])
            found.append((replacement.updates, replacement.replaced, layer.codebook[ALIVE]))
        assert found[0][:2] == found[1][:2] == (5, 5)
        torch.testing.assert_close(found[0][2], found[1][2])
        assert len(graphs) == 1, "compiled at the first update only"

    def test_removed(self):
        layer, optimizer = collapsed()
        replacement = Replacement(layer, optimizer, every=1)
        replacement.remove()
        update(layer, optimizer)
        assert (replacement.updates, replacement.replaced) == (0, 0)

    def test_a_copy_of_the_model_counts_for_itself(self):
        layer, optimizer = collapsed()
        replacement = Replacement(layer, optimizer, every=1)
        copy.deepcopy(layer)(latents(1, 20, 4))
        assert int(replacement.state_dict()["hits"].sum()) == 0

    def test_ema_begins_anew_with_the_count_of_a_start(self):
        layer, optimizer = collapsed("ema")
        Replacement(layer, optimizer, every=1)
        update(layer, optimizer)
        codebook = layer._codebook
        assert codebook.counts[DEAD].tolist() == [1.0] * 5
        assert (codebook.counts[ALIVE] != 1).all()
        assert torch.equal(codebook.means, codebook.weight)


class TestTheOptimizersMemory:
    @pytest.fixture
    def once_alive(self):
        """Codes that were chosen and then dropped, so that their moments are not zero; replaced after update 5."""
        layer, optimizer = collapsed()
        layer.codebook[DEAD] = latents(5, 4, seed=3)
        for seed in range(4):
            update(layer, optimizer, seed)
        layer.codebook[DEAD] = -9.0
        return layer, optimizer

    @staticmethod
    def moments(layer, optimizer):
        return {name: value.clone() for name, value in optimizer.state[layer._codebook.weight].items()}

    def test_is_zero_in_replaced_rows_and_the_same_to_the_bit_elsewhere(self, once_alive):
        layer, optimizer = once_alive
        bare, its_own = copy.deepcopy(once_alive)
        Replacement(layer, optimizer, every=1)
        update(layer, optimizer)
        update(bare, its_own)
        found, wanted = self.moments(layer, optimizer), self.moments(bare, its_own)
        for name in ("exp_avg", "exp_avg_sq"):
            assert (wanted[name][DEAD] != 0).all()
            assert (found[name][DEAD] == 0).all()
            assert torch.equal(found[name][ALIVE], wanted[name][ALIVE])
        assert found["step"] == wanted["step"]

    def test_does_not_move_a_replaced_code(self, once_alive):
        """A step in which it is not chosen leaves it to the bit; without the reset it would go on."""
        layer, optimizer = once_alive
        replacement = Replacement(layer, optimizer, every=1)
        update(layer, optimizer)
        replacement.remove()
        before = layer.codebook.clone()
        optimizer.zero_grad()
        (layer._codebook.weight * 0).sum().backward()
        optimizer.step()
        assert torch.equal(layer.codebook[DEAD], before[DEAD])
        assert not torch.equal(layer.codebook[ALIVE], before[ALIVE])

    def test_the_next_gradient_is_taken_as_by_a_fresh_row_at_the_count_of_all(self, once_alive):
        layer, optimizer = once_alive
        replacement = Replacement(layer, optimizer, every=1)
        update(layer, optimizer)
        replacement.remove()
        fresh = torch.nn.Parameter(layer.codebook[DEAD].clone())
        alone = torch.optim.Adam([fresh], lr=1e-3)
        fresh.grad = torch.zeros_like(fresh)
        for _ in range(int(optimizer.state[layer._codebook.weight]["step"])):  # rest, for the count alone
            alone.step()
        optimizer.zero_grad()
        layer(latents(1, 20, 4, seed=8)).loss.backward()
        fresh.grad = layer._codebook.weight.grad[DEAD].clone()
        assert (fresh.grad != 0).any()
        alone.step()
        optimizer.step()
        assert torch.equal(layer.codebook[DEAD], fresh.detach())

    def test_momentum_of_sgd(self):
        layer, _ = collapsed()
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
        update(layer, optimizer)
        optimizer.state[layer._codebook.weight]["momentum_buffer"].add_(1)
        Replacement(layer, optimizer, every=1)
        update(layer, optimizer)
        kept = self.moments(layer, optimizer)["momentum_buffer"]
        assert (kept[DEAD] == 0).all()
        assert (kept[ALIVE] != 0).all()


class TestInTraining:
    @pytest.fixture
    def tiny(self):
        """More codes than are kept alive."""
        return TrainingConfig(size=16, codes=256, dim=4, batch_size=4, steps=12, records=4, lr=0.01, replace_every=4)

    def test_it_is_off_by_default(self):
        assert TrainingConfig().replace_every is None
        assert TrainingRun.new(TrainingConfig(codes=8, dim=4)).replacement is None

    @pytest.mark.parametrize("rule", ["vq", "ema"])
    def test_stopped_and_resumed_is_as_if_not_stopped(self, tiny, tmp_path, monkeypatch, rule):
        monkeypatch.setattr("vqtheory.nn.training.loop._SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        tiny = replace(tiny, rule=rule)
        whole = train(tiny, progress=False)

        def stop(step, row):
            if step == 9:  # between two replacements, with hits counted; the checkpoint is of update 6
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(tiny, progress=False, save=tmp_path, on_record=stop)
        assert TrainingRun.load(tmp_path).replacement.state_dict()["hits"].sum() > 0
        again = resume(tmp_path, progress=False)
        assert again.rows == whole.rows
        assert again.rows[-1]["replaced"] > again.rows[1]["replaced"] > 0
        assert str(again.replacement.state_dict()) == str(whole.replacement.state_dict())
        for one, other in zip(again.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
            assert torch.equal(one, other)

    def test_it_raises_usage(self, tiny):
        plain, treated = (train(tiny, steps=60, replace_every=every, progress=False).rows[-1] for every in (None, 10))
        assert "replaced" not in plain
        assert treated["usage"] > plain["usage"]

    def test_by_the_command(self, monkeypatch, capsys, tmp_path):
        small = [
            "--size",
            "16",
            "--codes",
            "256",
            "--dim",
            "4",
            "--batch-size",
            "4",
            "--steps",
            "4",
            "--save",
            str(tmp_path),
        ]
        monkeypatch.setattr(sys, "argv", ["vqtheory", "train", *small, "--replace-every", "2"])
        assert app.main() == 0
        assert "replace_every=2" in capsys.readouterr().out
        assert TrainingRun.load(tmp_path).replacement.replaced > 0

    def test_two_processes_equal_one_with_the_joined_batch(self, tiny, tmp_path):
        """gloo, in float64: what is left is the order of sums."""
        script = f"""
            from vqtheory.nn.training.config import TrainingConfig
            from vqtheory.nn.training import resume, train
            torch.set_default_dtype(torch.float64)
            tiny = TrainingConfig.parse({repr(replace(tiny, codes=64, replace_every=2))!r})  # a latent for each code
            for rule in ("vq", "ema"):
                train(tiny, rule=rule, save=f"{tmp_path}/{{rule}}{{world}}", progress=False)
            if world > 1:
                train(tiny, rule=rule, steps=3, save=f"{tmp_path}/resumed", progress=False)
                torch.distributed.barrier()  # the first process has saved
                resume(f"{tmp_path}/resumed", tiny.steps, progress=False)
        """
        together(script, tmp_path, (0, 1), (0, 2), (1, 2))
        for rule in ("vq", "ema"):
            one, two = (TrainingRun.load(tmp_path / f"{rule}{world}") for world in (1, 2))
            assert one.rows[-1]["replaced"] == two.rows[-1]["replaced"] > 0
            assert (one.monitor.recording.hits == two.monitor.recording.hits).all()
            assert one.monitor.recording.batch_size == two.monitor.recording.batch_size
            torch.testing.assert_close(two.quantizer.codebook, one.quantizer.codebook, rtol=0, atol=1e-6)  # read as float32
        resumed = TrainingRun.load(tmp_path / "resumed").quantizer.codebook
        torch.testing.assert_close(resumed, two.quantizer.codebook, rtol=0, atol=1e-6)


def test_a_process_without_latents_has_the_codes_of_the_others(tmp_path):
    """Replaced, though only the first process has run a pass, and started; where none has latents all say so."""
    script = """
        import pytest
        from vqtheory.nn import Replacement, VectorQuantize, start_on

        def same(codes):
            first = codes.detach().clone()
            torch.distributed.broadcast(first, src=0)
            return torch.equal(first, codes)

        for policy in ("random", "split", "oldest"):
            layer = VectorQuantize(2, 4, "vq")
            layer.set_codebook(torch.tensor([[0.0, 0.0], [50.0, 0.0], [60.0, 0.0], [70.0, 0.0]]))
            optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
            replacement = Replacement(layer, optimizer, every=1, policy=policy)
            if rank == 0:
                layer(torch.linspace(0.1, 1, 18).reshape(1, 9, 2))
            optimizer.step()
            assert replacement.replaced == (1 if policy == "split" else 3)
            optimizer.step()  # and none has run a pass
            assert replacement.replaced == (1 if policy == "split" else 3)
            assert same(layer.codebook)
        quantizer = torch.nn.Module()
        quantizer.embedding = torch.nn.Embedding(4, 2)
        with pytest.warns(UserWarning, match="4 codes starts on 1 distinct latents, .* give start_on more latents"):
            start_on(quantizer, torch.full((1, 9, 2), 3.0 if rank == 0 else torch.nan))
        assert bool((quantizer.embedding.weight == 3).all())
        with pytest.raises(ValueError, match="at least one latent that is finite"):
            start_on(quantizer, torch.full((1, 9, 2), torch.nan))
    """
    together(script, tmp_path, (0, 2), (1, 2))


def other_optimizer():
    return torch.optim.Adam([torch.nn.Parameter(torch.zeros(8, 4))])


REFUSED = [
    (
        lambda: Replacement(3, other_optimizer()),
        "parameter of Replacement must be a module with a codebook. Got 3",
    ),
    (lambda: Replacement(*collapsed("simvq")), "are made of other numbers, and cannot be replaced one by one. Got SimVQ"),
    (
        lambda: Replacement(*collapsed("transvq")),
        "are made of other numbers, and cannot be replaced one by one. Got TransVQ",
    ),
    (lambda: Replacement(collapsed()[0], other_optimizer()), "must be the one that has the quantizer's codes. Got 'Adam'"),
    (lambda: Replacement(collapsed()[0], None), "'optimizer' parameter of Replacement must be a torch.optim.Optimizer"),
    (lambda: Replacement(*collapsed(), every=0), "'every' parameter of Replacement must be an int >= 1. Got 0."),
    (lambda: Replacement(*collapsed(), least=0), "'least' parameter of Replacement must be an int >= 1. Got 0."),
    (lambda: TrainingConfig(replace_every=0), "'replace_every' parameter of train must be an int >= 1. Got 0."),
    (
        lambda: train(rule="simvq", codes=8, dim=4, replace_every=5),
        "are made of other numbers, and cannot be replaced one by one",
    ),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_input_gets_one_clear_sentence(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call()


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_is_the_simulator_s(policy):
    """The same codes are replaced by the same latents; EMA, and SGD of plain VQ at the matching rate."""
    least = 0.6 if policy == "count" else 1
    for inner in (EMA(0.8),) if policy == "count" else (EMA(0.8), VQ(0.25)):
        rule, random = rules.Replacement(inner, every=2, least=least, policy=policy), np.random.default_rng(0)
        codes, x = random.normal(size=(12, 3)), random.normal(size=(9, 10, 3))
        layer = VectorQuantize(3, 12, inner, commitment_weight=0.0).double()
        layer._codebook.load(inner.init(codes))
        weights = [*layer.codebook_parameters(), torch.nn.Parameter(torch.zeros(1))]
        optimizer = torch.optim.SGD(weights, lr=step_size(eta=0.25, dim=3))
        replacement = Replacement(layer, optimizer, every=2, least=least, seed=5, policy=policy)
        state = rule.init(codes, seed=5)
        for batch in x:
            optimizer.zero_grad()
            (layer(torch.tensor(batch[None])).loss + weights[-1]).backward()
            optimizer.step()
            state, _ = rule.advance(state, Batches(batch[None]))
            assert replacement.replaced == state.replaced
        assert state.replaced > 3
        np.testing.assert_allclose(layer.codebook.numpy(), state.codes, rtol=0, atol=1e-12)
