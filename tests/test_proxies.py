"""One group of models: data as a function of (seed, run, step), a group equals its members, what is measured."""
import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from regmix.proxies import Group, draw_domains, load_checkpoint, plan, random_stream, save_checkpoint
from toys import CONFIG

# ---------------------------------------------------------------- which text, when

@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30).filter(lambda w: sum(w) > 1e-3), st.integers(1, 2000), st.integers(0, 10**6))
def test_even_draws_realise_the_weights(weights, n, seed):
    w = np.array(weights) / sum(weights)
    domain = draw_domains(w, n, random_stream(seed))
    assert ((domain >= 0) & (domain < len(w))).all() and (w[domain] > 0).all()
    count = np.bincount(domain, minlength=len(w))
    assert np.abs(count - n * w).max() <= 3 + 2 * np.log(n + 1)      # the star discrepancy of the golden ratio, with room


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 300), st.sampled_from(["even", "random"]))
def test_a_plan_is_a_prefix_of_a_longer_one_and_epochs_are_whole(a, b, n, draw):
    w, chunks = pd.Series({"x": 0.6, "y": 0.4}), {"x": a, "y": b}
    domain, chunk = plan(w, chunks, n, 3, "run", draw)
    more = plan(w, chunks, n + 50, 3, "run", draw)
    assert (more[0][:n] == domain).all() and (more[1][:n] == chunk).all()
    for d, size in enumerate((a, b)):
        mine = chunk[domain == d]
        for start in range(0, len(mine) - size + 1, size): assert sorted(mine[start:start + size]) == list(range(size))


def test_random_draws_are_random():
    w = np.array([0.3, 0.7])
    counts = [np.bincount(draw_domains(w, 500, random_stream(i), "random"), minlength=2)[0] for i in range(200)]
    assert abs(np.mean(counts) - 150) < 3 and 7 < np.std(counts) < 14      # binomial: 10.2


def test_streams_and_draws_are_what_committed_swarms_were_made_with():
    assert random_stream(0, "a", "domains").random(3).round(6).tolist() == [0.635004, 0.714807, 0.773491]
    assert draw_domains(np.array([0.5, 0.3, 0.2]), 12, random_stream(3, "run", "domains")).tolist() == [2, 0, 0, 1, 0, 2, 1, 0, 2, 0, 0, 1]
    assert draw_domains(np.array([0.5, 0.3, 0.2]), 12, random_stream(3, "run", "domains"), "random").tolist() == [2, 0, 0, 2, 2, 0, 2, 2, 0, 1, 0, 2]


def test_every_step_is_read_once_and_none_beyond_the_last(corpus, mixtures):
    config, steps = dataclasses.replace(CONFIG, tokens=4_000), []
    group = Group(corpus, mixtures.iloc[:1], config)
    batches = group.batches
    group.batches = lambda step: (steps.append(step), batches(step))[1]
    group.train()
    assert steps == list(range(config.steps))


# ---------------------------------------------------------------- a group is its members

def test_group_equals_members_and_its_order_does_not_matter(corpus, mixtures):
    config = dataclasses.replace(CONFIG, tokens=6_000)
    group = Group(corpus, mixtures.iloc[:4], config).train()
    turned = Group(corpus, mixtures.iloc[[3, 1, 0, 2]], config).train()
    alone = Group(corpus, mixtures.iloc[[3]], config).train()
    for other in (turned, alone):   # sums in another order: a difference in the last bits, which training magnifies
        np.testing.assert_allclose(other.train_losses[0, :40], group.train_losses[3, :40], atol=2e-4)
        np.testing.assert_allclose(other.losses[config.steps][0], group.losses[config.steps][3], atol=0.03)
    assert np.ptp(group.losses[config.steps], axis=0).min() > 0.5      # and the mixtures do matter


def test_a_seed_changes_weights_and_data(corpus, mixtures):
    two = Group(corpus, mixtures.iloc[[4, 4]].set_axis(["a", "b"]), CONFIG, seeds=[1, 2])
    assert not torch.equal(two.weights["embed"][0], two.weights["embed"][1])
    assert not torch.equal(two.batches(0)[0], two.batches(0)[1])


def test_matches_a_plain_loop(corpus, mixtures):
    "The same model, data and settings in transformers with torch's own clipping and AdamW."
    pytest.importorskip("transformers")
    from regmix.models import to_transformers
    from regmix.proxies import learning_rate
    group = Group(corpus, mixtures.iloc[[5]], CONFIG)
    plain = to_transformers(group.weights, group.model, 0, context=CONFIG.context).train()
    optimiser = torch.optim.AdamW(plain.parameters(), lr=1, betas=CONFIG.betas, weight_decay=CONFIG.weight_decay)
    for step in range(30):
        batch = group.batches(step)
        group.advance(batch)
        for p in optimiser.param_groups: p["lr"] = learning_rate(CONFIG, step)
        optimiser.zero_grad()
        logits = plain(input_ids=batch[0, :, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[0, :, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), CONFIG.clip)
        optimiser.step()
        assert abs(loss.item() - group.train_losses[0, step].item()) < 2e-3


# ---------------------------------------------------------------- checkpoints and measuring

def test_a_checkpoint_of_other_runs_is_refused(corpus, mixtures, tmp_path):
    path = save_checkpoint(Group(corpus, mixtures.iloc[:2], CONFIG), tmp_path/"x.ckpt")
    with pytest.raises(ValueError, match="another swarm"): load_checkpoint(Group(corpus, mixtures.iloc[2:4], CONFIG), path)


def test_the_loss_of_a_domain_is_measured_all_over_its_validation_text(corpus):
    from regmix.proxies import Validation
    config = dataclasses.replace(CONFIG, eval_tokens=64)
    tokens, seen = corpus.tokens("sea", "valid"), Validation(corpus, config)
    rows = seen.tokens[seen.of == seen.domains.index("sea")].numpy()
    assert len(rows) == 2 and (rows[0] == tokens[:33]).all()
    whole = (len(tokens) - 1) // 32
    assert (rows[1] == tokens[whole // 2 * 32:whole // 2 * 32 + 33]).all()
    assert seen.bytes_per_token["sea"] == corpus.token_bytes()[rows[:, 1:]].mean()


def test_bfloat16_trains_to_about_the_same_place(corpus, mixtures):
    config = dataclasses.replace(CONFIG, tokens=4000)
    a, b = (Group(corpus, mixtures.iloc[:2], config, dtype=t).train().losses[config.steps] for t in (torch.float32, torch.bfloat16))
    np.testing.assert_allclose(a, b, atol=0.05)
