"""Models: K in a batch are K alone, the loss is PyTorch's own without its logits, transformers agrees both ways."""
import math
import os

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from regmix.models import (MODELS, ModelConfig, count_parameters, cross_entropy, embed, export, from_transformers, hidden, init_weights, 
                           logits, model_config, pick, softmax_rows, to_transformers, token_losses, train_flops, weight_shapes)
from regmix.files import ROOT
from regmix.paper import sizes
from toys import run_with_package

TINY = ModelConfig(vocab_size=61, width=24, inner=40, layers=2, heads=3)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seeded(seed): return torch.Generator().manual_seed(seed)


def shaken(config, seeds, scale=4.0):
    "Weights large enough, and norms uneven enough, that a wrong convention shows."
    weights = init_weights(config, seeds)
    return {n: 0.5 + torch.rand(w.shape, generator=seeded(1)) if w.ndim == 2 else scale*w for n, w in weights.items()}


def batch(K=3, B=2, T=12, V=61, seed=0): return torch.randint(0, V, (K, B, T), generator=seeded(seed))


def step(weights, x, y, config=TINY, dtype=torch.float32, **kwargs):
    leaves = {n: w.detach().clone().requires_grad_() for n, w in weights.items()}
    loss = cross_entropy(hidden(leaves, config, x, dtype), leaves["head"], y, **kwargs)
    loss.sum().backward()
    return loss.detach(), {n: w.grad for n, w in leaves.items()}


# sizes

@pytest.mark.parametrize("name", MODELS)
def test_counts_are_those_of_the_shapes(name):
    n = count_parameters(MODELS[name])
    shapes = weight_shapes(MODELS[name])
    assert n["total"] == sum(math.prod(s) for s in shapes.values())
    assert n["norms"] == sum(s[0] for s in shapes.values() if len(s) == 1)
    assert all(type(v) is int for v in n.values())


def test_sizes_are_those_of_table_09():
    for name, row in sizes().iterrows():
        n = count_parameters(model_config(name))
        assert (n["non_embedding"], n["embedding"] + n["output"]) == (row.non_embedding, row.embedding)


def test_flops_are_six_times_the_parameters_and_attention():
    c, T = model_config("1M", 8192), 256
    f, n = train_flops(c, T), count_parameters(c)
    looked_at = sum(t + 1 for t in range(T)) / T
    assert f["total"] == 6*n["non_embedding"] + 6*n["output"] + 3 * c.layers * 4 * c.width * looked_at
    assert f["without_output"] == f["total"] - f["output"]


@pytest.mark.parametrize("change, message", [
    (dict(heads=5), "width = 24 does not divide into heads = 5"), (dict(heads=8), "heads of size 3"), (dict(vocab_size=0), "vocab_size = 0"),
    (dict(layers=-1), "layers = -1"), (dict(eps=0), "eps = 0"), (dict(width=24.5), "width = 24.5"), (dict(theta=float("nan")), "theta = nan")])
def test_bad_shapes_are_refused_by_name(change, message):
    fields = dict(vocab_size=61, width=24, inner=40, layers=2, heads=3) | change
    with pytest.raises(ValueError, match=message): ModelConfig(**fields)


def test_unknown_size():
    with pytest.raises(ValueError, match="no model '3M'; choose from .*1M"): model_config("3M")


# weights

def test_a_model_depends_on_its_seed_alone():
    many = init_weights(TINY, [3, 1, 4, 1])
    for k, seed in enumerate([3, 1, 4, 1]):
        for n, w in init_weights(TINY, [seed]).items(): assert torch.equal(w[0], many[n][k])
    assert not torch.equal(many["embed"][0], many["embed"][2])


def test_drawing_leaves_the_global_generator_alone():
    torch.manual_seed(0); a = torch.rand(1)
    torch.manual_seed(0); init_weights(TINY, [1]); to_transformers(init_weights(TINY, [1]), TINY)
    assert torch.equal(torch.rand(1), a)


def test_spread_of_the_weights():
    c = model_config("330K", 2048)
    w = init_weights(c, [0], requires_grad=True)
    assert all(t.is_leaf and t.requires_grad and t.dtype == torch.float32 for t in w.values())
    assert abs(w["head"].std().item() / 0.02 - 1) < 0.02
    assert abs(w["layers.0.out"].std().item() / (0.02/2) - 1) < 0.02
    assert (w["layers.1.norm2"] == 1).all()


# a batch of K

@pytest.mark.parametrize("heads, T", [(1, 1), (3, 7), (12, 33)])
def test_a_batch_is_k_models_alone(heads, T):
    c = ModelConfig(61, 24, 40, 2, heads)
    weights, x, y = shaken(c, [0, 1, 2]), batch(T=T), batch(T=T, seed=1).flatten(1)
    loss, grads = step(weights, x, y, c)
    for k in range(3):
        loss_k, grads_k = step(pick(weights, [k]), x[k:k+1], y[k:k+1], c)
        assert torch.allclose(loss_k, loss[k:k+1], atol=1e-5)
        for n in grads: assert torch.allclose(grads_k[n], grads[n][k:k+1], atol=1e-5), n


def test_permuted_models_give_permuted_answers():
    weights, x, y, order = shaken(TINY, [0, 1, 2]), batch(), batch(seed=1).flatten(1), [2, 0, 1]
    loss, grads = step(weights, x, y)
    loss_p, grads_p = step(pick(weights, order), x[order], y[order])
    assert torch.allclose(loss_p, loss[order], atol=1e-6)
    for n in grads: assert torch.allclose(grads_p[n], grads[n][order], atol=1e-6), n


@pytest.mark.parametrize("grouping", [None, 61*4*5])
def test_a_broken_model_leaves_its_neighbours_alone(grouping):
    weights, x, y = shaken(TINY, [0, 1, 2]), batch(), batch(seed=1).flatten(1)
    loss, grads = step(weights, x, y, chunk_bytes=grouping)
    for w in weights.values(): w[1] = math.nan
    loss_b, grads_b = step(weights, x, y, chunk_bytes=grouping)
    assert loss_b[1].isnan() and torch.equal(loss_b[[0, 2]], loss[[0, 2]])
    for n in grads: assert torch.equal(grads_b[n][[0, 2]], grads[n][[0, 2]]), n


def test_the_same_text_for_all_models():
    weights, x = shaken(TINY, [0, 1, 2]), batch(K=1)
    each = logits(weights, TINY, x.expand(3, -1, -1))
    for shared in (x, x[0]): assert torch.allclose(logits(weights, TINY, shared), each, atol=1e-6)
    h, y = hidden(weights, TINY, x), batch(K=1, seed=1).flatten(1)
    for shared in (y, y[0]): assert torch.equal(token_losses(h, weights["head"], shared), token_losses(h, weights["head"], y.expand(3, -1)))


def test_the_past_does_not_see_the_future():
    weights, x = shaken(TINY, [0, 1, 2]), batch()
    changed = x.clone(); changed[..., 5:] = (x[..., 5:] + 1) % 61
    a, b = logits(weights, TINY, x), logits(weights, TINY, changed)
    assert torch.allclose(a[:, :, :5], b[:, :, :5], atol=1e-5) and not torch.allclose(a[:, :, 5], b[:, :, 5], atol=1e-2)


@pytest.mark.parametrize("tokens, message", [
    (batch(K=2), "K = 3 models"), (batch() + 30, "vocabulary of 61"), (batch() - 1, "from -1"), (batch()[0, 0], "K = 3")])
def test_bad_tokens_are_refused(tokens, message):
    with pytest.raises(ValueError, match=message): embed(init_weights(TINY, [0, 1, 2])["embed"], tokens)


def test_bfloat16_is_near_float32():
    weights, x, y = shaken(TINY, [0, 1, 2], scale=2), batch(), batch(seed=1).flatten(1)
    loss, grads = step(weights, x, y)
    loss_b, grads_b = step(weights, x, y, dtype=torch.bfloat16)
    assert hidden(weights, TINY, x, torch.bfloat16).dtype == torch.bfloat16
    assert loss_b.dtype == torch.float32 and torch.allclose(loss_b, loss, atol=0.02)
    for n in grads:
        assert grads_b[n].dtype == torch.float32
        assert (grads_b[n] - grads[n]).norm() < 0.05 * grads[n].norm(), n


def test_compiles_whole():
    weights, x = shaken(TINY, [0, 1, 2]), batch()
    for dtype in (torch.float32, torch.bfloat16):
        compiled = torch.compile(hidden, backend="eager", fullgraph=True)
        assert torch.allclose(compiled(weights, TINY, x, dtype), hidden(weights, TINY, x, dtype), atol=1e-5 if dtype == torch.float32 else 0.1)   # compiled are the plain parts


# the loss

def plain(h, head, targets): return F.cross_entropy((h.float() @ head.float().mT).transpose(1, 2), targets, reduction="none")


@pytest.mark.parametrize("rows", [1, 7, 100])
@pytest.mark.parametrize("upstream", [(1.0, 1.0, 1.0), (0.0, -3.0, 0.25)])
def test_loss_and_gradients_are_pytorchs(rows, upstream):
    g = seeded(0)
    h, head = (torch.randn(3, n, 24, generator=g).requires_grad_() for n in (24, 61))
    y, upstream = batch().flatten(1), torch.tensor(upstream)
    expected = plain(h, head, y)
    ours = cross_entropy(h, head, y, chunk_bytes=rows*61*4)
    assert ours.shape == (3,) and torch.allclose(ours, expected.mean(-1), atol=1e-5)
    for a, b in zip(torch.autograd.grad(ours @ upstream, (h, head)), torch.autograd.grad(expected.mean(-1) @ upstream, (h, head))):
        assert torch.allclose(a, b, atol=1e-5)
    assert torch.allclose(token_losses(h, head, y, chunk_bytes=rows*61*4), expected, atol=1e-5)


def test_gradients_are_slopes():
    g = seeded(0)
    h, head, y = torch.randn(2, 5, 4, generator=g).double(), torch.randn(2, 9, 4, generator=g).double(), torch.randint(0, 9, (2, 5), generator=g)
    h.requires_grad_(); head.requires_grad_()
    f = lambda: cross_entropy(h, head, y) @ torch.tensor([2.0, -1.0]).double()
    grads = torch.autograd.grad(f(), (h, head))
    with torch.no_grad():
        for t, grad in zip((h, head), grads):
            for i in range(0, t.numel(), 3):
                flat = t.view(-1); old = flat[i].item()
                flat[i] = old + 1e-6; up = f()
                flat[i] = old - 1e-6; down = f()
                flat[i] = old
                assert abs((up - down).item()/2e-6 - grad.reshape(-1)[i].item()) < 1e-6


def test_a_second_backward_is_an_error_and_not_a_wrong_answer():
    h, head = torch.randn(1, 4, 8, requires_grad=True), torch.randn(1, 9, 8, requires_grad=True)
    loss = cross_entropy(h, head, torch.zeros(1, 4, dtype=torch.long)).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError): loss.backward()


def test_all_models_in_one_chunk(monkeypatch):
    "What a GPU does: a chunk holds rows of every model."
    import regmix.models
    def grouped(K, N, row_bytes, device, chunk_bytes): return [(slice(0, K), slice(i, min(i + 5, N))) for i in range(0, N, 5)]
    weights, x, y = shaken(TINY, [0, 1, 2]), batch(), batch(seed=1).flatten(1)
    loss, grads = step(weights, x, y)
    monkeypatch.setattr(regmix.models, "_chunks", grouped)
    loss_g, grads_g = step(weights, x, y)
    assert torch.allclose(loss_g, loss, atol=1e-5)
    for n in grads: assert torch.allclose(grads_g[n], grads[n], atol=1e-5), n
    for w in weights.values(): w[1] = math.nan
    loss_b, grads_b = step(weights, x, y)
    assert torch.equal(loss_b[[0, 2]], loss_g[[0, 2]])
    for n in grads: assert torch.equal(grads_b[n][[0, 2]], grads_g[n][[0, 2]]), n


@pytest.mark.parametrize("K, N, V", [(1, 1, 10), (5, 1000, 50432), (64, 8192, 8192), (3, 257, 8192)])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_chunks_cover_everything_once(K, N, V, device):
    from regmix.models import _chunks
    seen = torch.zeros(K, N, dtype=torch.int)
    parts = _chunks(K, N, V * 2, torch.device(device), None)
    for k, rows in parts: seen[k, rows] += 1
    assert (seen == 1).all()
    first = seen[parts[0]].numel()
    assert all(seen[p].numel() <= first for p in parts) and first * V * 2 <= max(1 << 28, 256 * V * 2)


def test_extreme_logits_stay_finite():
    h, head = torch.eye(4)[None] * 300, torch.eye(4)[None]
    y = torch.tensor([[0, 1, 3, 0]])
    h[0, 3, 0] = 300
    assert torch.allclose(token_losses(h, head, y), plain(h, head, y)) and token_losses(h, head, y).max() == 300


def test_bfloat16_logits_with_a_softmax_in_float32():
    h, head = torch.randn(2, 30, 16, generator=seeded(0)).bfloat16(), torch.randn(2, 500, 16, generator=seeded(1)).bfloat16()
    z = torch.bmm(h, head.mT)
    expected = F.cross_entropy(z.float().transpose(1, 2), torch.zeros(2, 30, dtype=torch.long), reduction="none")
    ours = token_losses(h, head.float(), torch.zeros(2, 30, dtype=torch.long))
    assert ours.dtype == torch.float32 and torch.allclose(ours, expected, atol=1e-5)
    losses, p = softmax_rows(z.clone(), torch.zeros(2, 30, 1, dtype=torch.long))
    assert p.dtype == torch.bfloat16 and torch.allclose(losses, expected, atol=1e-5)


def test_training_in_bfloat16_follows_float32():
    "Parts written by hand, on a CPU: losses and gradients as near as bfloat16 allows, over several blocks of attention."
    weights = shaken(TINY, [0, 1])
    g = seeded(3)
    x, y = (torch.randint(TINY.vocab_size, (2, 2, 150), generator=g) for _ in "xy")
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        leaves = {n: w.clone().requires_grad_() for n, w in weights.items()}
        loss = cross_entropy(hidden(leaves, TINY, x, dtype), leaves["head"], y.flatten(1))
        loss.sum().backward()
        found[dtype] = loss.detach(), {n: w.grad for n, w in leaves.items()}
    (loss, grads), (loss_b, grads_b) = found.values()
    assert torch.allclose(loss_b, loss, rtol=0.01)
    for n in grads: assert (grads_b[n] - grads[n]).norm() < 0.05 * grads[n].norm(), n


def test_a_hopeless_token_has_a_finite_loss_in_training_and_nan_stays():
    h, head = (torch.eye(4)[None] * 300).requires_grad_(), torch.eye(4)[None]
    y = torch.tensor([[1, 0, 3, 0]])
    assert 200 < cross_entropy(h.detach(), head, y).item() and 80/4 < cross_entropy(h, head, y).item() < 300
    assert cross_entropy(h * math.nan, head, y).isnan().all()


@pytest.mark.parametrize("T", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("n", [1, 5])
def test_blocks_of_attention_are_as_the_whole(T, n, monkeypatch):
    import regmix.models
    monkeypatch.setattr(regmix.models, "SCORES", 2 * 64 * T)   # two heads at a time
    q, k, v = (torch.randn(n, T, 8, generator=seeded(s), requires_grad=True) for s in range(3))
    ours, theirs = regmix.models._Attend.apply(q, k, v), regmix.models.attend(q, k, v)
    g = torch.randn(n, T, 8, generator=seeded(4))
    assert torch.allclose(ours, theirs, atol=1e-5)
    for a, b in zip(torch.autograd.grad(ours, (q, k, v), g), torch.autograd.grad(theirs, (q, k, v), g)): assert torch.allclose(a, b, atol=1e-5)


class Largest(TorchDispatchMode):
    size = 0
    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        out = f(*args, **(kwargs or {}))
        self.size = max([self.size] + [t.untyped_storage().nbytes() for t in tree_leaves(out) if isinstance(t, torch.Tensor)])
        return out


def test_logits_never_exist_whole():
    N, V = 64, 4000
    h, head = torch.randn(2, N, 8, requires_grad=True), torch.randn(2, V, 8, requires_grad=True)
    with Largest() as largest: cross_entropy(h, head, torch.zeros(2, N, dtype=torch.long), chunk_bytes=8*V*4).sum().backward()
    assert largest.size <= max(8*V*4, 2*V*8*4) < N*V*4  # a chunk, or the head itself
    with Largest() as largest: token_losses(h, head, torch.zeros(2, N, dtype=torch.long), chunk_bytes=8*V*4)
    assert largest.size <= max(8*V*4, 2*V*8*4)


@pytest.mark.parametrize("h, head, y, message", [
    ((2, 5, 4), (2, 9, 4), (2, 4), r"targets \(2, 4\)"), ((2, 5, 4), (2, 9, 3), (2, 5), "K, V, D"), ((2, 5, 4), (3, 9, 4), (2, 5), "K, V, D"),
    ((2, 5, 4), (2, 9, 4), (3, 5), r"targets \(3, 5\)"), ((2, 0, 4), (2, 9, 4), (2, 0), "no tokens")])
def test_bad_shapes_of_the_loss(h, head, y, message):
    with pytest.raises(ValueError, match=message): cross_entropy(torch.ones(h), torch.ones(head), torch.zeros(y, dtype=torch.long))


@pytest.mark.parametrize("V", [64, 1000])
def test_an_untrained_model_loses_ln_v(V):
    c = model_config("80K", V)
    w, x = init_weights(c, [0, 1]), batch(K=2, T=64, V=V)
    assert torch.allclose(cross_entropy(hidden(w, c, x), w["head"], x.flatten(1)), torch.tensor(math.log(V)), atol=0.1)


# transformers

def test_logits_agree_both_ways():
    weights, x = shaken(TINY, [0, 1]), batch(K=1, T=40)
    for k in range(2):
        model = to_transformers(weights, TINY, k)
        with torch.no_grad(): assert torch.allclose(model(x[0]).logits, logits(weights, TINY, x)[k], atol=1e-4)
        back, config = from_transformers(model)
        assert config == TINY
        for n in weights: assert torch.equal(back[n][0], weights[n][k])


def test_a_copy_shares_no_memory():
    weights = shaken(TINY, [0])
    model = to_transformers(weights, TINY)
    before = weights["embed"].clone()
    with torch.no_grad(): [p.zero_() for p in model.parameters()]
    assert torch.equal(weights["embed"], before)
    back, _ = from_transformers(model)
    with torch.no_grad(): model.lm_head.weight.fill_(1)
    assert (back["head"] == 0).all()


def test_losses_agree_with_theirs():
    weights, x = shaken(TINY, [0]), batch(K=1, T=30)
    model = to_transformers(weights, TINY)
    with torch.no_grad():
        theirs = model(x[0], labels=x[0]).loss
        h = hidden(weights, TINY, x[..., :-1])
        assert torch.allclose(cross_entropy(h, weights["head"], x[..., 1:].flatten(1))[0], theirs, atol=1e-5)


@pytest.mark.parametrize("change, message", [
    (dict(num_key_value_heads=2), "grouped queries"), (dict(tie_word_embeddings=True), "tied"), (dict(attention_bias=True), "biases"),
    (dict(hidden_act="gelu"), "'gelu'"), (dict(head_dim=16), "16 coordinates"),
    (dict(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}), r"scaled \(linear\)")])
def test_other_llamas_are_refused(change, message):
    from transformers import LlamaConfig, LlamaForCausalLM
    c = LlamaConfig(**(dict(vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=1, num_attention_heads=4) | change))
    with pytest.raises(ValueError, match=f"cannot be read: .*{message}"): from_transformers(LlamaForCausalLM(c))


@pytest.fixture
def words(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    def make(n, end="<|endoftext|>"):
        t = Tokenizer(models.WordLevel({w: i for i, w in enumerate([end] + [f"w{i}" for i in range(n - 1)])}, unk_token="w0"))
        t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        t.save(str(tmp_path/"tokenizer.json"))
        return tmp_path/"tokenizer.json"
    return make


def test_export_is_read_by_transformers(tmp_path, words):
    from transformers import AutoModelForCausalLM, AutoTokenizer
    weights = shaken(TINY, [0, 1])
    folder = export(weights, TINY, tmp_path/"deep"/"model", k=1, tokenizer=words(61), context=32)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert (folder/"model.safetensors").exists() and [p.name for p in folder.parent.iterdir()] == ["model"]
    assert tokenizer.eos_token == "<|endoftext|>" and tokenizer.eos_token_id == model.config.eos_token_id == 0
    assert tokenizer.model_max_length == model.config.max_position_embeddings == 32
    ids = tokenizer("w3 w1 w4", return_tensors="pt")
    assert ids["input_ids"].tolist() == [[4, 2, 5]]
    with torch.no_grad(): assert torch.allclose(model(input_ids=ids["input_ids"]).logits, logits(weights, TINY, ids["input_ids"])[1:][0], atol=1e-4)
    out = ids["input_ids"]
    for _ in range(4): out = torch.cat([out, logits(weights, TINY, out)[1, :, -1].argmax(-1, keepdim=True)], 1)
    made = model.generate(ids["input_ids"], attention_mask=torch.ones_like(ids["input_ids"]), max_new_tokens=4, min_new_tokens=4, do_sample=False, pad_token_id=0)
    assert made.shape == (1, 7)
    assert torch.equal(made, out) or 0 in out[0, 3:]


def test_export_keeps_what_is_there(tmp_path):
    weights = shaken(TINY, [0, 1])
    folder = export(weights, TINY, tmp_path/"m")
    before = (folder/"model.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"): export(weights, TINY, folder, k=1)
    assert (folder/"model.safetensors").read_bytes() == before
    export(weights, TINY, folder, k=1, overwrite=True)
    (folder/"notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds notes.txt, which is no part of the model"): export(weights, TINY, folder, k=1, overwrite=True)
    (folder/"notes.txt").unlink()
    with pytest.raises(FileExistsError, match="holds something that is no model"): export(weights, TINY, folder.parent, overwrite=True)
    assert (folder/"model.safetensors").read_bytes() != before
    assert (os.stat(folder).st_mode & 0o777) == 0o755


def test_a_crash_while_exporting_keeps_the_old_model(tmp_path, monkeypatch):
    from transformers import LlamaForCausalLM
    weights = shaken(TINY, [0])
    folder = export(weights, TINY, tmp_path/"m")
    def crash(*a, **k): raise OSError("disk full")
    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", crash)
    with pytest.raises(OSError, match="disk full"): export(weights, TINY, folder, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["m"] and (folder/"model.safetensors").exists()


def test_tokenizers_that_do_not_fit(tmp_path, words):
    weights = init_weights(TINY, [0])
    with pytest.raises(ValueError, match="62 tokens and the model only 61"): export(weights, TINY, tmp_path/"m", tokenizer=words(62))
    with pytest.raises(ValueError, match="none of <|endoftext|>"): export(weights, TINY, tmp_path/"m", tokenizer=words(61, "[END]"))
    with pytest.raises(ValueError, match="no token 'x'"): export(weights, TINY, tmp_path/"m", tokenizer=words(61), eos="x")
    assert not (tmp_path/"m").exists()
    assert export(weights, TINY, tmp_path/"m", tokenizer=words(61, "[END]"), eos="[END]").exists()


def test_training_needs_no_transformers(processes):
    code = "import sys; sys.modules['transformers'] = sys.modules['safetensors'] = sys.modules['nbdev'] = sys.modules['fastcore'] = None; import regmix.models"
    process = processes.Process(target=run_with_package, args=(str(ROOT), code))
    process.start()
    process.join(120)
    assert process.exitcode == 0
