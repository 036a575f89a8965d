"""Every writer, killed before each of its steps: the old or the new content is whole; the next writer clears up.

To add a writer: one line in WRITERS, with its name, a function that writes a word to a path, and one that reads it.
`test_faults.py` finds a function of the package that writes a folder and is not here.
"""
import os
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import pandas as pd
import pytest

import regmix.files as files
from regmix.files import (NoResult, clear_leftovers, finish_result, load_result, recover, save_result, verify,
                          whole_folder, write_file)
from regmix.mixtures import load_mixture, save_mixture
from regmix.swarms import Swarm, load_swarm, long_losses, save_swarm
from regmix.tables import Metric

# ---------------------------------------------------------------- the writers

NUMBER = {'old': 0.25, 'new': 0.75}   # what stands for a word where numbers are kept
WORD = {number: word for word, number in NUMBER.items()}


def table(word): return pd.DataFrame({'run': ['a', 'b'], 'loss': NUMBER[word]})


def word_of(losses):
    "Read the word off losses that are all the same."
    (number,) = set(losses)
    return WORD[number]


def write_a_folder(path, word):
    with whole_folder(path, overwrite=True) as folder:
        for name in 'ab': write_file(folder/word/name, word)


def read_a_folder(path):
    assert verify(path)
    (inner,) = (p for p in path.iterdir() if p.is_dir())
    assert sorted(p.name for p in inner.iterdir()) == ['a', 'b']
    assert {p.read_text() for p in inner.iterdir()} == {inner.name}
    return inner.name


def write_a_swarm(path, word):
    mixtures = pd.DataFrame({'web': [1.0, 0.5], 'law': [0.0, 0.5]}, index=['a', 'b'])
    wide = pd.DataFrame({'web': NUMBER[word]}, index=pd.Index(['a', 'b'], name='run'))
    save_swarm(Swarm(word, mixtures, long_losses(wide, 1000), hosts=wide), path, overwrite=True)


def read_a_swarm(path):
    swarm = load_swarm(path)
    assert swarm.name == word_of(swarm.final_losses()['web']) == word_of(swarm.hosts['web'])
    return swarm.name


def write_a_fit(path, word):
    from regmix.choice import Fit, as_comparison, save_fit
    mixtures = pd.DataFrame({'web': [1.0, 0.5], 'law': [0.0, 0.5]}, index=['a', 'b'])
    values, rows = pd.DataFrame({'loss': NUMBER[word]}, index=mixtures.index), [{'target': 'loss', 'law': 'ridge'}]
    save_fit(Fit(mixtures, values, {'loss': Metric('loss')}, {'loss': 'ridge'}, as_comparison(rows)), path, True)


def read_a_fit(path):
    from regmix.choice import load_fit
    return word_of(load_fit(path).values['loss'])


def write_a_mixture(path, word): save_mixture(pd.Series({'web': NUMBER[word], 'law': 1 - NUMBER[word]}), path)


def write_a_result(path, word):
    tables = {'one': table(word), 'two': table(word)}
    save_result(path.parent.name, path.name, tables, {'word': word}, home=path.parent.parent)


def read_a_result(path):
    result = load_result(path.parent.name, path.name, path.parent.parent)
    assert result.tables == ['one', 'two']
    for name in result.tables: assert word_of(result.table(name)['loss']) == result.made['word']
    return result.made['word']


def finish_a_result(path, word):
    write_file(path/'runs'/'model', 'hours of work')
    finish_result(path, {'one': table(word), 'two': table(word)}, {'word': word})


def read_a_finished_result(path):
    "The word, or None where there is no result; the work beside it is there."
    assert (path/'runs'/'model').read_text() == 'hours of work'
    try: return read_a_result(path)
    except NoResult: return None


WRITERS = [  # name, function that writes a word to a path (and replaces what is there), function that reads it
    ('file', lambda path, word: write_file(path, word), lambda path: path.read_text()),
    ('folder', write_a_folder, read_a_folder),
    ('swarm', write_a_swarm, read_a_swarm),
    ('mixture', write_a_mixture, lambda path: WORD[load_mixture(path)['web']]),
    ('result', write_a_result, read_a_result),
]
ALSO = [('fit', write_a_fit, read_a_fit)]   # writes as a swarm does, and is slow to load: it fails, but is not killed

# ---------------------------------------------------------------- the killer, in a process of its own

STEPS = {'os.mkdir', 'os.rename', 'os.remove', 'os.rmdir', 'os.chmod', 'shutil.rmtree', 'ctypes.dlsym'}   # audit events
MOST = 60   # steps; no writer has as many
WAYS = ('exchange', 'fallback')   # how a folder is replaced: names are exchanged, or the old one steps aside
REHEARSED = [(*w, way) for w in WRITERS for way in WAYS if way == 'exchange' or w[0] == 'folder']   # a swarm is a folder


def kill_at(step, home):
    "Let this process kill itself before its `step`-th step that changes files."
    seen = 0
    def watch(event, args):
        nonlocal seen
        opens = event == 'open' and str(home) in str(args[0]) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if not (opens or event in STEPS): return
        seen += 1
        if seen > step: os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)


def write_and_die(write, path, step):
    "Write in a child process that dies before its `step`-th step; tell whether it came to its end."
    child = os.fork()
    if not child:
        status = 1
        try:
            kill_at(step, path.parent)
            write(path, 'new')
            status = 0
        except BaseException: traceback.print_exc()
        finally: os._exit(status)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status): return False
    assert os.WEXITSTATUS(status) == 0, 'the writer failed; its traceback is above'
    return True


def rehearse(write, home):
    "Kill a writer before each of its steps in turn, once with and once without something there before."
    for before in ('first', 'replaced'):
        for step in range(MOST):
            path = Path(home, before, f'{step:02}', 'target')
            path.parent.mkdir(parents=True)
            if before == 'replaced':
                source = Path(home).parent/'old'/'target'
                (shutil.copytree if source.is_dir() else shutil.copy)(source, path)
            if write_and_die(write, path, step): break
        else: raise AssertionError(f'more than {MOST} steps')


def rehearse_all(home):
    "Rehearse every writer with and without an exchange of folders; a trace of what failed is left in its folder."
    import pyarrow.parquet   # noqa: F401 (once, and not in each child; nothing of it is used here, so that forking is safe)
    exchange, os.fsync = files._exchange, lambda handle: None   # a killed process needs no disk to hold what it wrote
    for name, write, _, way in REHEARSED:
        files._exchange = exchange if way == 'exchange' else lambda a, b: False
        try: rehearse(write, Path(home, name, way))
        except Exception: Path(home, name, f'{way}.failed').write_text(traceback.format_exc())


if __name__ == '__main__': rehearse_all(sys.argv[1])

# ---------------------------------------------------------------- the tests


def beside(path): return sorted(p.name for p in path.parent.iterdir() if p != path)


@pytest.fixture(scope='module')
def rehearsed(tmp_path_factory):
    "What all writers left behind: home/name/way/('first' or 'replaced')/step/target."
    home = tmp_path_factory.mktemp('rehearsed')
    for name, write, _ in WRITERS: write(home/name/'old'/'target', 'old')
    env = os.environ | {'PYTHONPATH': str(files.ROOT), 'OMP_NUM_THREADS': '1'}
    subprocess.run([sys.executable, __file__, home], env=env, check=True)
    return home


@pytest.mark.parametrize('name, write, read, way', REHEARSED, ids=[f'{w[0]}-{w[3]}' for w in REHEARSED])
def test_a_writer_killed_at_any_step_loses_nothing(rehearsed, name, write, read, way):
    failed = rehearsed/name/f'{way}.failed'
    assert not failed.exists(), failed.read_text()
    found = {'first': [], 'replaced': []}
    for before, words in found.items():
        for home in sorted((rehearsed/name/way/before).iterdir()):
            path = home/'target'
            recover(path)                                  # as each reader does
            words.append(read(path) if os.path.lexists(path) else None)
            clear_leftovers(path)                          # as the next writer does
            assert not beside(path), f'{before}, killed before step {home.name}'
            write(path, 'new')
            assert read(path) == 'new' and not beside(path)

    assert len(found['first']) > 2 and set(found['first']) == {None, 'new'} and found['first'][-1] == 'new'
    assert set(found['replaced']) == {'old', 'new'} and found['replaced'][-1] == 'new'
    for words in found.values():                           # once new, new at all later steps
        assert words[words.index('new'):].count('new') == len(words) - words.index('new')


def test_a_result_beside_work_that_stays_is_whole_or_not_there(tmp_path):
    "Killed before each step: the old one, then none, then the new one; the work is there all the while."
    import pyarrow.parquet   # noqa: F401
    seen = []
    for step in range(MOST):
        path = tmp_path/f'{step:02}'/'target'
        path.parent.mkdir()
        finish_a_result(path, 'old')
        done = write_and_die(lambda path, word: finish_result(path, {'one': table(word), 'two': table(word)}, {'word': word}), path, step)
        seen.append(read_a_finished_result(path))
        finish_a_result(path, 'new')
        assert read_a_finished_result(path) == 'new' and not any(n.startswith('.') for n in os.listdir(path))
        if done: break
    assert done and seen == sorted(seen, key=['old', None, 'new'].index) and len(set(seen)) == 3


@pytest.mark.parametrize('name, write, read', WRITERS, ids=[w[0] for w in WRITERS])
def test_the_next_write_alone_clears_up(tmp_path, name, write, read):
    "Nobody calls `clear_leftovers`: the writer does."
    path = tmp_path/'target'
    gone = tmp_path/f'.target.new-{files.platform.node()}-{2 ** 22 + 1}-7'
    alive = tmp_path/f'.target.new-{files.platform.node()}-{os.getppid()}-7'
    elsewhere = tmp_path/f'.target.new-another.machine-{2 ** 22 + 1}-7'
    another = tmp_path/f'.target.newer.new-{files.platform.node()}-{2 ** 22 + 1}-7'   # of a file called target.newer
    no_name = tmp_path/f'..new-{files.platform.node()}-{2 ** 22 + 1}-7'
    for p in (gone, alive, elsewhere, another, no_name): p.write_text('half')
    write(path, 'new')
    assert read(path) == 'new' and beside(path) == sorted(p.name for p in (alive, elsewhere, no_name))


@pytest.mark.parametrize('name, write, read', WRITERS + ALSO, ids=[w[0] for w in WRITERS + ALSO])
@pytest.mark.parametrize('error', [OSError('disk full'), KeyboardInterrupt()], ids=['error', 'Ctrl-C'])
def test_a_writer_that_fails_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch, name, write, read, error):
    write(path := tmp_path/'target', 'old')
    def fail(*args, **kwargs): raise error
    for step in ('replace', 'rename'): monkeypatch.setattr(os, step, fail)
    monkeypatch.setattr(files, '_exchange', lambda a, b: False)
    with pytest.raises(type(error)): write(path, 'new')
    monkeypatch.undo()
    assert read(path) == 'old' and not beside(path)


@pytest.mark.parametrize('name, write, read', [w for w in WRITERS + ALSO if w[0] in ('folder', 'swarm', 'fit', 'result')])
def test_a_reader_alone_puts_back_what_had_stepped_aside(tmp_path, name, write, read):
    "The old folder has stepped aside, and its writer died before the new one came: whoever reads next finds it."
    write(path := tmp_path/'kind'/'target', 'old')
    path.rename(path.with_name(f'.target.old-{files.platform.node()}-{2 ** 22 + 1}-7'))
    if name == 'folder': recover(path)
    assert read(path) == 'old' and not beside(path)


def test_the_second_step_of_a_swap_fails(tmp_path, monkeypatch):
    "Without an exchange: the old folder has stepped aside, the new one does not come; the old one steps back."
    write_a_folder(path := tmp_path/'target', 'old')
    rename, calls = os.rename, []
    def second_fails(a, b):
        calls.append(a)
        if len(calls) == 2: raise OSError('disk full')
        rename(a, b)
    monkeypatch.setattr(files, '_exchange', lambda a, b: False)
    monkeypatch.setattr(os, 'rename', second_fails)
    with pytest.raises(OSError, match='disk full'): write_a_folder(path, 'new')
    assert len(calls) == 3 and read_a_folder(path) == 'old' and not beside(path)


def test_a_folder_that_came_first_is_kept(tmp_path):
    "Two writers at once, neither of which may replace: the second one refuses at the end."
    path = tmp_path/'target'
    with pytest.raises(FileExistsError, match='choose another folder'):
        with whole_folder(path) as slow:
            write_file(slow/'a', 'slow')
            with whole_folder(path) as quick: write_file(quick/'a', 'quick')
    assert (path/'a').read_text() == 'quick' and not beside(path)


def test_an_empty_folder_is_not_taken(tmp_path):
    (path := tmp_path/'target').mkdir()
    write_a_folder(path, 'new')
    assert read_a_folder(path) == 'new' and not beside(path)


def test_a_link_is_replaced_and_what_it_points_to_is_left(tmp_path):
    (tmp_path/'far').write_text('old')
    (path := tmp_path/'target').symlink_to(tmp_path/'far')
    write_file(path, 'new')
    assert not path.is_symlink() and path.read_text() == 'new' and (tmp_path/'far').read_text() == 'old'
    clear_leftovers(tmp_path/'nowhere'/'target')   # no folder, nothing to clear
