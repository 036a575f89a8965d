"""Damage, and whoever reads it: the right value or one sentence, never another value and never a traceback.

Killed writers are in `test_files.py`. To add a format: one line in FORMATS, with a function that writes it and one that
reads it. A function that writes a folder, or a file by other means than `regmix.files`, is found and must be named.
"""
import ast
import functools
import json
import os
import resource
import shutil
import subprocess
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regmix.files import (DATA, MANIFEST, ROOT, DiskFull, finish_result, inside, load_result, new_result, read_json,
                          read_parquet, safe_name, save_result, seal, sealed, verify, write_file)
from regmix.runner import KINDS
from regmix.swarms import Swarm, load_swarm, long_losses, save_swarm

SENTENCE = (ValueError, FileNotFoundError)   # what a reader may raise: the shell makes a line of it
pytestmark = pytest.mark.filterwarnings('ignore')

# ---------------------------------------------------------------- the formats


def toy_swarm(n=12, targets=('web', 'law')):
    rng = np.random.default_rng(0)
    mixtures = pd.DataFrame(rng.dirichlet([1, 1], n), [f'r{i}' for i in range(n)], ['web', 'law'])
    wide = pd.DataFrame(rng.uniform(2, 5, (n, len(targets))), mixtures.index, list(targets)).rename_axis('run')
    meta = {'seeds': [0] * n, 'prior': {'web': 0.5, 'law': 0.5}, 'notes': ['made up']}
    return Swarm('toy', mixtures, long_losses(wide, 1000), meta, wide)


def of_swarm(path):
    s = load_swarm(path)
    return s.name, s.meta, s.mixtures.to_dict(), s.losses.to_dict(), s.hosts.to_dict()


def make_fit(path):
    from regmix.choice import fit_given, save_fit
    return save_fit(fit_given(toy_swarm(), ['web'], 'ridge'), path, overwrite=True)


def of_fit(path):
    from regmix.choice import load_fit
    f = load_fit(path)
    return (f.digest, f.laws, f.settings, f.meta, f.metrics, f.comparison.to_json(),
            None if f.others is None else f.others.to_dict())


def make_proposal(path):
    from regmix.proposals import write_proposal
    span = {'value': 2.5, 'low': 2.25, 'high': 2.75, 'under the prior': 2.625}
    return write_proposal({'mixture': {'web': 0.75, 'law': 0.25}, 'predicted': {'web': span}, 'gap': 1e-9, 'usual': 0.125,
                           'distance': 0.0625, 'extrapolates': False, 'epochs': {'web': 1.5, 'law': None},
                           'prior': {'web': 0.5, 'law': 0.5}, 'laws': {'web': 'ridge'}}, path)


def of_proposal(path):
    from regmix.proposals import load_proposal
    told = load_proposal(path)
    parts = 'predicted', 'gap', 'usual', 'distance', 'extrapolates', 'epochs', 'prior', 'laws'
    return [told['mixture'].to_dict(), *(told.get(part) for part in parts)]


def make_corpus(path):
    from regmix.corpora import build_corpus
    from regmix.text import Document
    texts = [Document(d, f'{d} page {i} says {w}', f'{d}/{i}', f'{d}{i % 5}.org')
             for d in ('web', 'law') for i, w in enumerate('wave salt tide reef gull foam'.split() * 20)]
    build_corpus(texts, path, vocab_size=300, valid_fraction=0.3, context=8, progress=False)


def of_corpus(path):
    from regmix.corpora import load_corpus
    corpus = load_corpus(path).verify()
    return corpus.manifest, [corpus.tokens(d, s).tobytes() for d in corpus.domains for s in ('train', 'valid')]


TABLE = pd.DataFrame({'loss': [3.5, 3.25]})


def make_result(path): save_result(path.parent.name, path.name, {'table': TABLE}, {'seed': 1}, path.parent.parent)


def make_result_and_more(path):
    with new_result(path.parent.name, path.name, {'seed': 1}, path.parent.parent) as folder:
        TABLE.to_parquet(folder/'table.parquet', index=False)


def make_result_beside_work(path):
    write_file(path/'runs'/'weights.pt', 'hours of work')
    finish_result(path, {'table': TABLE}, {'seed': 1})


def of_result(path):
    found = load_result(path.parent.name, path.name, path.parent.parent)
    return found.made, found.table('table').to_dict()


FORMATS = {  # name: what writes it, what reads it
    'swarm': (lambda path: save_swarm(toy_swarm(), path), of_swarm),
    'fit': (make_fit, of_fit),
    'proposal.json': (make_proposal, of_proposal),
    'corpus': (make_corpus, of_corpus),
    'result': (make_result, of_result),
}
WRITE_RESULTS = {  # what a stage calls to write its result: what writes as it does, and what reads
    'save_result': (make_result, of_result), 'new_result': (make_result_and_more, of_result),
    'finish_result': (make_result_beside_work, of_result), 'train_swarm': FORMATS['swarm']}


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "One of each format, and what its reader gives."
    home = tmp_path_factory.mktemp('made')/'kind'
    for name, (make, _) in FORMATS.items(): make(home/name)
    return {name: (home/name, read(home/name)) for name, (_, read) in FORMATS.items()}


def files_of(path): return [path] if path.is_file() else sorted(p for p in path.rglob('*') if p.is_file())


def outcome(read, path):
    "What a reader gives, or the sentence that it raises; any other error is a fault of ours."
    try: return read(path), None
    except SENTENCE as e:
        text = str(e)
        assert text and '\n' not in text.strip() and path.name in text, f'no sentence that names the file: {text!r}'
        return None, text


def damaged(data, rng, flips):
    "Versions of a file's bytes: single bits flipped, cut, empty, longer, zeroed."
    for place in rng.integers(0, len(data), flips):
        yield data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1:]
    for cut in (0, 1, len(data) // 2, len(data) - 1): yield data[:cut]
    yield data + b'\0'
    yield bytes(len(data))


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize('name', FORMATS)
def test_a_damaged_file_is_named_or_makes_no_difference(made, name):
    path, right = made[name]
    rng, seen = np.random.default_rng(1), 0
    for file in files_of(path):
        data = file.read_bytes()
        for bad in damaged(data, rng, 12):
            file.write_bytes(bad)
            value, text = outcome(FORMATS[name][1], path)
            assert text or value == right, f'{file.name}: another value, and not a word'
            seen += 1
        file.unlink()
        value, text = outcome(FORMATS[name][1], path)
        assert text or value == right or file.name == MANIFEST, f'{file.name} is gone, and nobody says so'
        file.write_bytes(data)
    assert FORMATS[name][1](path) == right and seen >= 18


def calls_of(stage):
    "Name the functions that a stage's cells call."
    cells = json.loads((ROOT/f'nbs/stages/{stage}.ipynb').read_text())['cells']
    code = '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'code')
    calls = [c for c in ast.walk(ast.parse(code)) if isinstance(c, ast.Call)]
    return {getattr(c.func, 'attr', getattr(c.func, 'id', '')) for c in calls}, [c for c in calls if puts(c)]


def writer_of(stage):
    "Name the function that writes a stage's result; a stage that trains only has a swarm for it."
    named = calls_of(stage)[0] & set(WRITE_RESULTS)
    return (named - {'train_swarm'} or named).pop()


@pytest.mark.parametrize('stage', KINDS)
def test_the_result_of_every_stage_is_checked_when_it_is_read(tmp_path, stage):
    "The kinds are the runner's; how a stage writes is read off its notebook."
    make, read = WRITE_RESULTS[writer_of(stage)]
    make(path := tmp_path/KINDS[stage][0]/'toy')
    right, rng = read(path), np.random.default_rng(4)
    for name in (*read_json(path/MANIFEST)['files'], MANIFEST):
        data = (path/name).read_bytes()
        for bad in damaged(data, rng, 6):
            (path/name).write_bytes(bad)
            value, text = outcome(read, path)
            assert text or value == right, f'{name}: another value, and not a word'
        (path/name).unlink()
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter('always')
            assert outcome(read, path)[1] or notes, f'{name} is gone, and nobody says so'
        (path/name).write_bytes(data)
    assert read(path) == right


def test_every_stage_is_known_and_writes_its_result_in_one_way():
    assert {p.stem for p in (ROOT/'nbs/stages').glob('*.ipynb')} == set(KINDS)
    for stage in KINDS:
        calls, direct = calls_of(stage)
        assert calls & set(WRITE_RESULTS), f'{stage}: say how it writes its result'
        assert not direct, f'{stage} writes past regmix.files: {[ast.unparse(c) for c in direct]}'


def unsealed(path):
    "Take off what tells that a file was changed, as if somebody had made it with another tool."
    if path.is_dir(): (path/MANIFEST).unlink(missing_ok=True)
    for file in files_of(path):
        if file.suffix == '.json':
            value = json.loads(file.read_text())
            file.write_text(json.dumps({k: v for k, v in value.items() if k != 'seal'}))


@pytest.mark.parametrize('name', ['swarm', 'fit', 'proposal.json'])
def test_without_a_manifest_any_bytes_give_a_value_or_one_sentence(made, tmp_path, name):
    path, read = tmp_path/name, FORMATS[name][1]
    (shutil.copytree if made[name][0].is_dir() else shutil.copy)(made[name][0], path)
    unsealed(path)
    assert read(path) == made[name][1]
    rng = np.random.default_rng(2)
    for file in files_of(path):
        data = file.read_bytes()
        for bad in damaged(data, rng, 12):
            file.write_bytes(bad)
            outcome(read, path)
        file.write_bytes(data)


# ---------------------------------------------------------------- another form


OTHER = None, True, -1, 1e308, 10 ** 400, 'zz', [], {}, [[]], {'zz': 'zz'}


def places(value, at=()):
    "All places in a value of JSON."
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, v in inner: yield from places(v, (*at, key))


def changed(value, at, how):
    "A copy of a value in which one place is another value, is gone, or has another name."
    if not at: return how
    value = json.loads(json.dumps(value))
    inner = value
    for key in at[:-1]: inner = inner[key]
    if how == 'gone': del inner[at[-1]]
    elif how == 'renamed' and isinstance(inner, dict): inner['zz'] = inner.pop(at[-1])
    else: inner[at[-1]] = how
    return value


def reads_fit_and_told(fit, proposal=None):
    "What `regmix report` does first with a fit and a proposal."
    from regmix.choice import load_fit
    from regmix.proposals import caveats, load_proposal
    known, told = load_fit(fit), None if proposal is None else load_proposal(proposal)
    known.predict(known.mixtures)
    return caveats(known, told)


FORMS = {'swarm': ('swarm.json', of_swarm), 'fit': ('fit.json', reads_fit_and_told), 'corpus': ('corpus.json', of_corpus),
         'result': ('result.json', of_result), 'proposal.json': ('', None)}


@pytest.mark.parametrize('name', FORMS)
def test_json_of_another_form_gives_a_value_or_one_sentence(made, tmp_path, name):
    (home := tmp_path/'kind').mkdir()
    for n in {name, 'fit'}: (shutil.copytree if made[n][0].is_dir() else shutil.copy)(made[n][0], home/n)
    for n in {name, 'fit'}: unsealed(home/n)
    file, read = home/name/FORMS[name][0] if FORMS[name][0] else home/name, FORMS[name][1] or (lambda path: reads_fit_and_told(home/'fit', path))
    right = json.loads(file.read_text())
    tries = [(at, how) for at in places(right) for how in (*OTHER, 'gone', 'renamed')]
    rng = np.random.default_rng(3)
    for i in rng.permutation(len(tries))[:40]:
        file.write_text(json.dumps(changed(right, *tries[i])))
        if name == 'result': seal(home/name)   # without a manifest there is no result
        try: outcome(read, home/name)
        except Exception as e: raise AssertionError(f'{tries[i]}: {type(e).__name__}: {e}') from e


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(data=st.one_of(st.binary(max_size=60), st.text(max_size=40).map(str.encode),
                      st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
                                   lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3),
                                   max_leaves=8).map(lambda v: json.dumps(v).encode())))
def test_any_bytes_are_json_of_a_form_or_one_sentence(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp()/'any.json'
    path.write_bytes(data)
    for form in (None, {'a': float}, {'targets': {str: {'law': str}}}, [int], (dict, None)):
        value, text = outcome(lambda p: read_json(p, form, 'a fit', 'fit again'), path)
        if text: assert 'any.json: ' in text and (value is None or 'fit again' in text)
    path.write_bytes(data)
    if data: outcome(read_parquet, path)


# ---------------------------------------------------------------- names


HOSTILE = ['', '.', '..', '../../evil', '/etc/x', 'a/b', 'a\\b', 'a\0b', 'a\nb', '\x7f', ' a', 'a ', '.a', 'x' * 300,
           'ä' * 76, '\ud800']


@pytest.mark.parametrize('name', HOSTILE, ids=ascii)
def test_a_name_that_would_leave_its_folder_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match='run .*give it another name'): safe_name('run', name)
    if '..' in name or name[:1] == '/':
        with pytest.raises(ValueError, match='leads out of'): inside(tmp_path, f'{name}.pt' if name != '..' else name)


def test_a_manifest_that_names_a_domain_outside_is_refused(made, tmp_path):
    from regmix.corpora import load_corpus
    shutil.copytree(made['corpus'][0], tmp_path/'corpus')
    told = read_json(tmp_path/'corpus'/'corpus.json')
    told['domains']['../../evil'] = told['domains'].pop('web')
    write_file(tmp_path/'corpus'/'corpus.json', json.dumps(sealed(told)))
    with pytest.raises(ValueError, match='cannot name a domain'): load_corpus(tmp_path/'corpus')


# ---------------------------------------------------------------- what is replaced


REPLACED = {  # of each folder that can be replaced: what replaces it, and what is said of a folder of another kind
    'swarm': (lambda path: save_swarm(toy_swarm(), path, overwrite=True), 'no swarm'),
    'fit': (make_fit, 'no fit')}   # a model: `test_models`; a swarm in training: `test_training`


@pytest.mark.parametrize('name', REPLACED)
def test_overwrite_replaces_what_was_written_so_and_nothing_else(tmp_path, name):
    "Somebody's own folder, and what somebody has put into ours, stay; a folder that lost its manifest can be replaced."
    write, words = REPLACED[name]
    (own := tmp_path/'own').mkdir()
    (own/'thesis.txt').write_text('years')
    with pytest.raises(FileExistsError, match=words): write(own)
    assert (own/'thesis.txt').read_text() == 'years'
    write(path := tmp_path/'ours')
    write(path)
    (path/'notes').mkdir()
    (path/'notes'/'thesis.txt').write_text('years')
    with pytest.raises(FileExistsError, match=f'ours holds notes, which is no part of the {name} .*move that away'): write(path)
    assert (path/'notes'/'thesis.txt').read_text() == 'years'
    shutil.rmtree(path/'notes')
    (path/MANIFEST).write_text('{')
    write(path)
    assert verify(path)


@pytest.mark.parametrize('line', ['export {p} --to megatron --path web=a --path law=b --out {p}', 'report {f} {p} --out {p}',
                                  'report {f} --out {f}/fit.json', 'propose {f} --prior {p} --out {p}', 'propose {f} --out {f}/mixtures.parquet',
                                  'propose {f} --out {f}', 'sample {p} --out {p}', 'fit --swarm {s} -t web --out {s}', 'next {s} -t web --pool {p} --out {p}',
                                  'report {f} --out {d}/pipe', 'propose {f} --out /dev/null', 'sample {p} --out {p}/m.csv', 'export {p} --to yaml --out {d}'])
def test_a_command_does_not_write_over_what_it_reads_nor_where_no_file_can_be(made, tmp_path, line):
    from typer.testing import CliRunner
    from regmix.cli import app
    names = {'s': 'swarm', 'f': 'fit', 'p': 'proposal.json'}
    for n in names.values(): (shutil.copytree if made[n][0].is_dir() else shutil.copy)(made[n][0], tmp_path/n)
    os.mkfifo(tmp_path/'pipe')
    before = {p: p.read_bytes() for p in files_of(tmp_path)}
    found = CliRunner().invoke(app, [w.format(d=tmp_path, **{k: tmp_path/n for k, n in names.items()}) for w in [*line.split(), '--overwrite']])
    assert found.exit_code == 2 and not found.stdout and found.stderr.count('\n') == 1, found.output
    assert {p: p.read_bytes() for p in files_of(tmp_path)} == before and (tmp_path/'pipe').is_fifo() and os.path.exists('/dev/null') and not os.path.isfile('/dev/null')


# ---------------------------------------------------------------- a full disk


def write_much(path): write_file(path, 'x' * 3_000_000)


def write_much_by_pyarrow(path): save_swarm(toy_swarm(100, [f't{i}' for i in range(3000)]), path, overwrite=True)


BIG = {'file': (lambda path: write_file(path, 'old'), write_much),
       'swarm': (lambda path: save_swarm(toy_swarm(), path), write_much_by_pyarrow),
       'result': (make_result, lambda path: save_result(path.parent.name, path.name, {
           'table': pd.DataFrame({'loss': np.random.default_rng(0).normal(size=200_000)})}, {}, path.parent.parent))}


@pytest.fixture(scope='module')
def one_megabyte(tmp_path_factory):
    "A disk of 1 MB, or a limit on the size of files where no disk may be mounted."
    home = tmp_path_factory.mktemp('disk')
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', home]
    if shutil.which('mount') and subprocess.run(mount, capture_output=True).returncode == 0:
        yield home
        subprocess.run(['umount', '-l', home], check=True)
    else:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        yield home
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize('name', BIG)
def test_a_full_disk_keeps_what_was_there_and_says_what_was_needed(one_megabyte, name):
    write_little, write_big = BIG[name]
    path = one_megabyte/'kind'/name
    with pytest.raises(DiskFull, match=rf'{name}.*: (No space left on device|File too large): .*[\d,]+ bytes were needed '
                                       '.*nothing is left of it: make room, and call again$'): write_big(path)
    assert not list(path.parent.iterdir())
    write_little(path)
    before = {p: p.read_bytes() for p in files_of(path)}
    with pytest.raises(DiskFull, match='what was there before is kept'): write_big(path)
    assert {p: p.read_bytes() for p in files_of(path)} == before and os.listdir(path.parent) == [path.name]
    (shutil.rmtree if path.is_dir() else os.remove)(path)


# ---------------------------------------------------------------- nobody writes otherwise


BLOCKS = {  # what opens a block of `whole_file` or `whole_folder`: the test that kills it, or why none needs to
    'files.write_file': 'test_files', 'files.new_result': 'test_files', 'files.save_result': 'test_files',
    'swarms.save_swarm': 'test_files', 'choice.save_fit': 'test_files, where it fails',
    'corpora.build_corpus': 'test_corpora', 'corpora.filter_corpus': 'as build_corpus',
    'models.export': 'test_models, where it fails', 'tasks._publish': 'as save_swarm',
    'cli._write_mixtures': 'as save_swarm', 'proxies.save_checkpoint': 'as write_file',
    'training.save_weights': 'as write_file', 'training._replace': 'test_training', 'archive.write_archive': 'as write_file'}
DIRECT = {  # what writes otherwise, and where to
    **dict.fromkeys(('choice._write_table', 'swarms.save_swarm', 'files.write_tables', 'models.export', 'tasks._write',
                     'tasks._publish', 'corpora._write_tokenizer', 'corpora._write_rows', 'corpora._filter_domain',
                     'corpora.filter_corpus', 'corpora.append'), 'into a folder on its way'),
    **dict.fromkeys(('files.write_file', 'proxies.save_checkpoint', 'training.save_weights'), 'into a file on its way'),
    **dict.fromkeys(('figures.save_figure', 'report.as_svg'), 'into memory'), 'training.locked': 'a lock',
    'files._why_no_room': 'to see whether a disk is full', 'evaluation._build': 'into a temporary folder'}
OPENS = {'whole_file', 'whole_folder', 'new_result'}
PUTS = {'write_text', 'write_bytes', 'write_table', 'copytree', 'copyfile', 'save_pretrained', 'savefig', 'tofile', 'dump'}


def puts(call):
    "Tell whether a call writes a file by other means than `regmix.files`."
    name = getattr(call.func, 'attr', getattr(call.func, 'id', ''))
    if name == 'open':
        given = [v.value for v in [*call.args, *(k.value for k in call.keywords)] if isinstance(v, ast.Constant)]
        return any(isinstance(v, str) and len(v) < 4 and set(v) & set('wax+') for v in given)
    with_path = name in ('to_parquet', 'to_csv', 'to_json', 'save', 'savez') and call.args
    return name in PUTS or with_path or name == 'copy' and len(call.args) == 2


@functools.cache
def functions():
    "The functions of the package, each with its calls."
    trees = {file.stem: ast.parse(file.read_text()) for file in sorted((ROOT/'regmix').glob('[!_]*.py'))}
    return [(f'{module}.{f.name}', [c for c in ast.walk(f) if isinstance(c, ast.Call)])
            for module, tree in trees.items() for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)]


def test_whoever_writes_is_known():
    "A new writer is found here; say which test kills it, or write through `regmix.files`."
    blocks = {name for name, calls in functions() if any(getattr(c.func, 'id', '') in OPENS for c in calls)}
    direct = {name for name, calls in functions() if any(map(puts, calls))}
    assert blocks <= set(BLOCKS), f'say which test kills {sorted(blocks - set(BLOCKS))}'
    assert direct <= set(DIRECT), f'say where to {sorted(direct - set(DIRECT))} writes'


READS = {  # what reads a table or a JSON file past `regmix.files`, and why that is right
    'files.read_parquet': 'it is the reader', 'tables._parquet': "a user's table", 'runner._cells': 'a notebook',
    'runner.last_words': 'a notebook', 'ledger._intro': 'a notebook',
    'guide._read': 'a notebook', 'exercises.code_cells': 'a notebook', 'runner._read_mark': 'damaged, it is made again',
    'regression._read': 'says itself what is wrong', 'proxies.read_tensors': 'checks the parts by their checksums'}


def takes(call):
    "Tell whether a call reads a table or tensors, or JSON that it takes out of a file."
    name = ast.unparse(call.func)
    return name.endswith(('.read_parquet', 'json.load', 'torch.load', 'np.load')) or name == 'json.loads' and 'read_' in ast.unparse(call)


def test_whoever_reads_is_known():
    "A new reader is found here; read through `read_parquet` and `read_json` of `regmix.files`, and verify."
    found = {name for name, calls in functions() if any(map(takes, calls))}
    assert found == set(READS), f'say why {sorted(found ^ set(READS))} read past regmix.files'


def test_the_committed_swarms_are_as_they_were_written():
    for path in sorted((DATA/'replication').glob('*/swarm.json')): assert verify(path.parent, note=False), path
