"The paper's numbers hold together, and the authors' logs arrive whole or not at all."
import csv
import hashlib
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from regmix import paper
from regmix.files import DATA, ROOT
from regmix.paper import (AuthorsLogsMissing, DOMAINS, EXHIBITS, PRIOR, WrongFile, authors_dir, best_on, canonical, check, 
                          check_all, cohens_d, domain_title, download, fetch_authors, have_authors, interval, load_appendix_g, load_claims,
                          load_discrepancies, load_reach, load_regmix_mixture, load_table, published_numbers, sizes)

TABLES = [f'table_{i:02d}' for i in range(1, 12)] + ['appendix_e', 'appendix_g']

# ---------------------------------------------------------------- the tables

@pytest.mark.parametrize('name', TABLES)
def test_table_is_tidy(name):
    t = load_table(name)
    assert list(t.columns[-3:]) == ['printed', 'value', 'cut'] and len(t.columns) >= 5
    assert t.index.is_unique and not t.index.str.contains(', ,|, $').any()
    keys = t[list(t.columns[:-3])]
    assert (keys != '').all(axis=None) and (keys == keys.apply(lambda c: c.str.strip())).all(axis=None)
    assert list(t.index) == [', '.join(k) for k in keys.itertuples(index=False)]
    assert t.cut.dtype == bool


@pytest.mark.parametrize('name', TABLES)
def test_value_is_what_is_printed(name):
    for quantity, r in load_table(name).iterrows():
        if r.printed == '': assert r.cut and np.isnan(r.value)
        elif np.isnan(r.value): assert name == 'appendix_e' and not re.search(r'\d', r.printed)
        elif name == 'appendix_e' and r.printed[-1] in 'MB': assert r.value == float(r.printed[:-1])*{'M': 1e6, 'B': 1e9}[r.printed[-1]]
        else: assert r.value == float(r.printed.split('/')[0].replace(',', '')), quantity


def test_number_of_rows():
    n = {name: len(load_table(name)) for name in TABLES}
    assert n['table_01'] == 22 and n['table_02'] == 8 and n['table_05'] == 6 and n['table_06'] == 4
    assert n['table_03'] == 14*3 and n['table_04'] == 17*6 and n['table_07'] == 17*5
    assert n['table_08'] == 10*4*2 + 3 + 4 and n['table_09'] == 5*4 and n['table_10'] == 14*2 + 1 and n['table_11'] == 14*2
    assert n['appendix_g'] == 64*(17 + 13 + 1)


@pytest.mark.parametrize('name,quantity,printed', [
    ('table_01', 'Pile-CC, GiB', '227.12'), ('table_02', 'LightGBM, rho, 1B', '97.12'), ('table_02', 'Linear, MSE, 1M', '0.13'),
    ('table_03', 'Worst Model, HellaSwag', '33.0'), ('table_04', 'RegMix, HellaSwag', '44.2'), ('table_04', 'RegMix, Best on', '7/14'),
    ('table_04', 'DoReMi, Estimated FLOPs', '3.7e19'), ('table_05', 'LightGBM, rho, 60M', '98.80'), ('table_06', 'Linear, rho, 1M', '83.00'),
    ('table_07', 'RegMix, Pile-CC', '0.87'), ('table_08', 'RegMix, ARC Easy, mean', '47.2'), ('table_08', 'RegMix, ARC Easy, sd', '0.9'),
    ('table_08', 'RegMix, Beat Human on', '6/9'), ('table_08', 'RegMix, Average, mean', '41.5'), ('table_09', '1M, layers', '2'),
    ('table_10', 'RegMix, Average', '56.5'), ('table_11', 'RegMix (1B as proxy), Average', '56.4'),
    ('appendix_g', 'Model 1, weight, ArXiv', '0.123'), ('appendix_g', 'Model 3, score, Average', '47.60'), ('appendix_g', 'Model 64, score, MultiRC', '51.5')])
def test_spot_values(name, quantity, printed):
    assert load_table(name).printed[quantity] == printed


def test_cut_digits_are_marked():
    for name in TABLES:
        t = load_table(name)
        if name == 'appendix_g': assert set(t[t.cut].model) == {'Model 24', 'Model 56', 'Model 64'} and t.cut.sum() == 3*31
        elif name == 'table_05': assert list(t.index[t.cut]) == ['LightGBM, MSE, 1M']
        else: assert not t.cut.any()


def test_unknown_table():
    with pytest.raises(ValueError, match='table_12.*table_11'): load_table('table_12')
    with pytest.raises(ValueError, match='claims.csv.*printed, value, cut'): load_table('claims')


def test_a_quantity_that_occurs_twice_is_refused(tmp_path):
    (tmp_path/'t.csv').write_text('a,printed,value,cut\nx,1,1,false\nx,2,2,false\n')
    with pytest.raises(ValueError, match="t.csv: 'x' occurs twice"): load_table('t', tmp_path)


def test_appendix_g_frames():
    weights, scores = load_appendix_g()
    assert weights.shape == (64, 17) and scores.shape == (64, 13)
    assert list(weights.index) == list(scores.index) == [str(i) for i in range(1, 65)]
    assert list(weights.columns) == list(DOMAINS)
    assert not weights.isna().any(axis=None) and scores.min(axis=None) > 15 and scores.max(axis=None) < 85


def test_every_exhibit_has_something_to_be_held_against():
    c = load_claims()
    assert list(c.columns) == ['exhibit', 'quantity', 'printed', 'where', 'claim']
    assert not c.duplicated(['exhibit', 'quantity']).any() and (c[['exhibit', 'quantity', 'where', 'claim']] != '').all(axis=None)
    assert {f'Figure {i}' for i in range(1, 16)} <= set(c.exhibit)
    assert all(len(published_numbers(e)) for e in EXHIBITS)
    with pytest.raises(ValueError, match='Table 12'): published_numbers('Table 12')
    with pytest.raises(ValueError, match='nowhere'): published_numbers('nowhere')


def test_reach_has_one_sentence_for_each_exhibit():
    r = load_reach()
    assert list(r.index[:len(EXHIBITS)]) == list(EXHIBITS) and r.index.is_unique and r.str.endswith('.').all()
    assert set(r.index[len(EXHIBITS):]) <= set(load_claims().exhibit)   # what follows are places in the text
    assert 'needs a swarm of our own' in r['Figure 4']
    for e in ('Table 5', 'Table 6', 'Figure 5', 'Figure 7', *(f'Figure {i}' for i in range(10, 14))): assert 'our own swarms' in r[e], e

# ---------------------------------------------------------------- domains

def test_domains():
    assert list(DOMAINS) == ('arxiv freelaw nih_exporter pubmed_central wikipedia_en dm_mathematics github philpapers stackexchange enron_emails '
                             'gutenberg_pg_19 pile_cc ubuntu_irc europarl hackernews pubmed_abstracts uspto_backgrounds').split()
    assert sum(d.has_loss for d in DOMAINS.values()) == 13
    assert DOMAINS['philpapers'].loss_column is None
    assert DOMAINS['pile_cc'].loss_column == 'metric/the_pile_pile_cc_val_loss' and DOMAINS['pile_cc'].train_column == 'train_the_pile_pile_cc'
    assert PRIOR.sum() == pytest.approx(1, abs=1e-8) and (PRIOR > 0).all()
    shown = set(load_table('table_07').domain)
    assert shown == {d.display for d in DOMAINS.values()} and shown <= set(load_table('table_01').component)


@given(st.text())
def test_names_that_the_paper_does_not_know(name):
    if name in DOMAINS: return
    assert domain_title(name) == name
    if name not in {x for d in DOMAINS.values() for x in (d.display, d.pile_set_name)}:
        with pytest.raises(ValueError): canonical(name)

# ---------------------------------------------------------------- the checks

def test_the_record_is_exactly_what_the_checks_find():
    c, recorded = check_all(), load_discrepancies()
    found = c[~c.agrees].drop(columns='agrees').reset_index(drop=True)
    pd.testing.assert_frame_equal(found, recorded.drop(columns='comment'), check_dtype=False)
    assert (recorded.comment != '').all()
    assert len(c) > 200 and not found.duplicated(['exhibit', 'quantity']).any()


def test_checks_cover_what_they_should():
    n = check_all().exhibit.value_counts()
    assert n['Table 3'] == 42 and n['Appendix G'] == 64 and n['Table 8'] == 4 + 30 + 2 and n['Table 11'] >= 2 and n['Table 9'] >= 4


@pytest.mark.parametrize('name,quantity,printed', [
    ('table_03', 'Worst Model, SciQ', '77.7'), ('table_03', 'Delta, RACE', '4.8'), ('table_04', 'RegMix, Average', '47.5'),
    ('table_04', 'Human, Best on', '3/14'), ('table_07', 'DoReMi, Pile-CC', '0.843'), ('table_08', 'Pile-CC, Beat Human on', '7/9'),
    ('table_09', '60M, layers', '12'), ('table_10', 'Human, HellaSwag', '65.0'), ('table_11', 'RegMix (1M as proxy), PiQA', '76.3'),
    ('appendix_g', 'Model 7, score, Lambada', '36.53'), ('appendix_e', '1B, iterations', '2500')])
def test_a_wrong_digit_is_noticed(name, quantity, printed, tmp_path, monkeypatch):
    "The checks are worth something: a mistyped number makes the record differ from what is found."
    shutil.copytree(DATA/'paper', tmp_path/'paper')
    path = tmp_path/'paper'/f'{name}.csv'
    with open(path, newline='') as f: head, *rows = csv.reader(f)
    hit = [r for r in rows if ', '.join(r[:-3]) == quantity]
    assert len(hit) == 1 and hit[0][-3] != printed
    hit[0][-3:-1] = printed, printed.split('/')[0]
    with open(path, 'w', newline='') as f: csv.writer(f).writerows([head, *rows])
    monkeypatch.setattr(paper, 'DATA', tmp_path)
    c = check_all()
    assert (~c.agrees).sum() > len(load_discrepancies())


@given(st.lists(st.floats(0, 100), min_size=2, max_size=20), st.integers(0, 3))
def test_an_honest_average_always_agrees(values, decimals):
    "Round the parts and the average as a paper does: the check never cries wolf."
    low, high = np.mean([interval(f'{v:.{decimals}f}', decimals=decimals) for v in values], axis=0)
    assert check('Table 0', 'average', f'{np.mean(values):.{decimals}f}', low, high, decimals=decimals)['agrees']


@given(st.floats(0.01, 1e6), st.integers(1, 6), st.integers(0, 5))
def test_interval_holds_the_number_before_rounding_or_cutting(x, decimals, drop):
    low, high = interval(f'{x:.{decimals}f}')
    assert low - 1e-6 <= x <= high + 1e-6
    whole = f'{x:.{decimals}f}'
    short = whole[:len(whole) - min(drop, decimals - 1)]
    low, high = interval(short, cut=True)
    assert low - 1e-6 <= float(whole) <= high + 1e-6


@given(st.floats(-50, 50), st.floats(0.1, 5), st.floats(-50, 50), st.floats(0.1, 5), st.floats(0.1, 10))
def test_cohens_d_is_antisymmetric_and_without_unit(m, s, m0, s0, unit):
    d = cohens_d(m, s, m0, s0)
    assert cohens_d(m0, s0, m, s) == pytest.approx(-d) and cohens_d(unit*m, unit*s, unit*m0, unit*s0) == pytest.approx(d, rel=1e-6, abs=1e-9)


@given(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=10))
def test_best_on_counts_each_task_at_least_once(rows):
    t = pd.DataFrame(rows, columns=list('abc'))
    assert best_on(t).sum() >= len(t) and (best_on(t) <= len(t)).all()


def test_sizes():
    s = sizes()
    assert s.loc['1M', 'non_embedding'] == 1_310_720 and s.loc['1M', 'embedding'] == 25_821_184
    assert (abs(s.non_embedding/s.nominal - 1) < 0.35).all()


def test_regmix_mixture_is_table_07_with_more_digits():
    m = load_regmix_mixture()
    assert list(m.index) == list(DOMAINS) and m.sum() == pytest.approx(1, abs=1e-6)
    printed = load_table('table_07').value
    assert all(abs(printed[f'RegMix, {domain_title(d)}'] - w) <= 0.0005 for d, w in m.items())

# ---------------------------------------------------------------- the download

BIG = bytes(range(256)) * 1200  # 300 kB: several reads of the client
FILES = {'a.csv': b'index,x\n1,0.5\n', 'b.csv': BIG}
SHA = {name: hashlib.sha256(body).hexdigest() for name, body in FILES.items()}


@contextmanager
def server(files, ranges=True, stop_after=None, stop_times=10**9, fault=None):
    """Serve bytes on 127.0.0.1; `stop_after` closes the connection after so many bytes of a body, `stop_times` times;
    `fault(handler, body)` answers in its own way, and returns True if it did."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args): pass

        def do_GET(self):
            asked = self.headers.get('Range'); seen.append((self.path, asked))
            body = files.get(self.path.rpartition('/')[2])
            if body is None: return self.send_error(404)
            if fault and fault(self, body, len(seen)): return
            start = int(re.match(r'bytes=(\d+)-$', asked).group(1)) if asked and ranges else 0
            if start and start >= len(body): return self.send_error(416)
            self.send_response(206 if start else 200)
            if start: self.send_header('Content-Range', f'bytes {start}-{len(body) - 1}/{len(body)}')
            self.send_header('Content-Length', str(len(body) - start)); self.end_headers()
            stop = stop_after is not None and sum(1 for _ in seen) <= stop_times
            self.wfile.write(body[start:start + stop_after] if stop else body[start:])

    httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=lambda: httpd.serve_forever(poll_interval=0.01), daemon=True); thread.start()
    try: yield f'http://127.0.0.1:{httpd.server_port}/data', seen
    finally: httpd.shutdown(); httpd.server_close(); thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch): monkeypatch.setenv('no_proxy', '127.0.0.1')


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    "The seconds that a download would have waited between its tries."
    waited = []
    monkeypatch.setattr(paper, 'sleep', waited.append)
    return waited


@pytest.fixture
def online(monkeypatch): monkeypatch.delenv('REGMIX_AUTHORS_DIR', raising=False)


def contents(folder): return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize('ranges', [True, False])
def test_full_download_and_nothing_the_second_time(tmp_path, online, ranges):
    with server(FILES, ranges) as (url, seen):
        assert fetch_authors(tmp_path/'new'/'folder', SHA, url) == tmp_path/'new'/'folder'
        assert contents(tmp_path/'new'/'folder') == FILES and len(seen) == 2
        fetch_authors(tmp_path/'new'/'folder', SHA, url)
        assert len(seen) == 2
        (tmp_path/'new'/'folder'/'a.csv').unlink()
        fetch_authors(tmp_path/'new'/'folder', SHA, url)
        assert len(seen) == 3 and contents(tmp_path/'new'/'folder') == FILES


@pytest.mark.parametrize('have', [1, 1000, len(BIG) - 1])
def test_resume(tmp_path, online, have):
    (tmp_path/'b.csv.part').write_bytes(BIG[:have])
    with server(FILES) as (url, seen): fetch_authors(tmp_path, SHA, url)
    assert contents(tmp_path) == FILES and ('/data/b.csv', f'bytes={have}-') in seen


def test_resume_where_the_server_ignores_range(tmp_path, online):
    (tmp_path/'b.csv.part').write_bytes(BIG[:1000])
    with server(FILES, ranges=False) as (url, seen): fetch_authors(tmp_path, SHA, url)
    assert contents(tmp_path) == FILES and ('/data/b.csv', 'bytes=1000-') in seen


@pytest.mark.parametrize('part', [BIG, BIG + b'more', b'\xff' + BIG[1:1000], b''])
def test_whole_too_long_wrong_and_empty_parts(tmp_path, online, part):
    "A part that is whole is used; one that cannot become the file is thrown away and fetched anew."
    (tmp_path/'b.csv.part').write_bytes(part)
    with server(FILES) as (url, seen): fetch_authors(tmp_path, SHA, url)
    assert contents(tmp_path) == FILES


def test_connection_that_breaks_once(tmp_path, online):
    with server({'b.csv': BIG}, stop_after=100_000, stop_times=1) as (url, seen): fetch_authors(tmp_path, {'b.csv': SHA['b.csv']}, url)
    assert contents(tmp_path) == {'b.csv': BIG} and seen == [('/data/b.csv', None), ('/data/b.csv', 'bytes=100000-')]


@pytest.mark.parametrize('ranges', [True, False])
def test_truncated_body_is_refused_and_goes_on_later(tmp_path, online, ranges):
    with server({'b.csv': BIG}, ranges, stop_after=1000) as (url, _), pytest.raises(WrongFile) as e: 
        fetch_authors(tmp_path, {'b.csv': SHA['b.csv']}, url)
    got = BIG[:3000] if ranges else BIG[:1000]
    assert 'b.csv ended too early' in str(e.value) and SHA['b.csv'] in str(e.value) and hashlib.sha256(got).hexdigest() in str(e.value)
    assert contents(tmp_path) == {'b.csv.part': got}   # no b.csv
    with server(FILES, ranges) as (url, _): fetch_authors(tmp_path, SHA, url)
    assert contents(tmp_path) == FILES


def test_corrupted_file_is_refused(tmp_path, online):
    bad = BIG[:5000] + b'!' + BIG[5001:]
    with server(FILES | {'b.csv': bad}) as (url, seen), pytest.raises(WrongFile) as e: fetch_authors(tmp_path, SHA, url)
    message = str(e.value)
    assert message.startswith('b.csv') and SHA['b.csv'] in message and hashlib.sha256(bad).hexdigest() in message
    assert contents(tmp_path) == {'a.csv': FILES['a.csv']} and len(seen) == 2   # asked once, nothing wrong left


def test_corrupted_file_behind_a_good_part_is_refused(tmp_path, online):
    bad = BIG[:-1] + b'!'
    (tmp_path/'b.csv.part').write_bytes(BIG[:1000])
    with server({'b.csv': bad}) as (url, seen), pytest.raises(WrongFile): fetch_authors(tmp_path, {'b.csv': SHA['b.csv']}, url)
    assert contents(tmp_path) == {} and [r for _, r in seen] == ['bytes=1000-', None]


def test_wrong_checksum_in_the_list(tmp_path, online):
    wrong = {'a.csv': '0'*64}
    with server(FILES) as (url, _), pytest.raises(WrongFile, match='a.csv.*' + '0'*64 + '.*' + SHA['a.csv']): fetch_authors(tmp_path, wrong, url)
    assert contents(tmp_path) == {}


def test_wrong_file_that_is_already_there_is_replaced(tmp_path, online):
    (tmp_path/'a.csv').write_bytes(b'something else')
    with server(FILES) as (url, _): fetch_authors(tmp_path, SHA, url)
    assert contents(tmp_path) == FILES


def test_no_server(tmp_path, online):
    with server(FILES) as (url, _): pass   # closed again: a port where nobody listens
    with pytest.raises(AuthorsLogsMissing, match='a.csv.*REGMIX_AUTHORS_DIR'): fetch_authors(tmp_path, SHA, url, timeout=5)
    assert contents(tmp_path) == {}


def test_file_that_the_server_does_not_have(tmp_path, online):
    with server({}) as (url, _), pytest.raises(AuthorsLogsMissing, match='a.csv.*404'): fetch_authors(tmp_path, SHA, url)
    assert contents(tmp_path) == {}


def test_a_lost_network_keeps_the_part(tmp_path, online):
    (tmp_path/'b.csv.part').write_bytes(BIG[:1000])
    with server(FILES) as (url, _): pass
    with pytest.raises(AuthorsLogsMissing): fetch_authors(tmp_path, {'b.csv': SHA['b.csv']}, url, timeout=5)
    assert contents(tmp_path) == {'b.csv.part': BIG[:1000]}


def busy(code, times):
    def fault(handler, body, n):
        if n <= times: handler.send_error(code)
        return n <= times
    return fault


def broken(handler, body, n):
    "Close the connection in place of the first answer."
    if n == 1: handler.close_connection = True
    return n == 1


def stalls(handler, body, n, drip=False):
    "Send the head of the first answer and then nothing, or a byte now and then."
    if n > 1: return False
    handler.send_response(200); handler.send_header('Content-Length', str(len(body))); handler.end_headers()
    handler.wfile.write(body[:5000])
    try:
        for i in range(5000, 5120 if drip else 5040):
            if drip: handler.wfile.write(body[i:i + 1]); handler.wfile.flush()
            time.sleep(.05)
    except OSError: pass
    return True


def endless(handler, body, n):
    "Send the right file and then zeros, without a length."
    handler.send_response(200); handler.end_headers()
    try:
        handler.wfile.write(body)
        for _ in range(4000): handler.wfile.write(bytes(1 << 16))
    except OSError: pass
    return True


B = {'b.csv': BIG}


def fetch_b(folder, url, **options): return download(f'{url}/b.csv', folder/'b.csv', SHA['b.csv'], **{'timeout': 5, 'size': len(BIG), **options})


@pytest.mark.parametrize('fault, requests', [(busy(500, 1), 2), (busy(503, 2), 3), (busy(429, 1), 2), (broken, 2)])
def test_a_server_that_is_busy_or_breaks_off_is_asked_again(tmp_path, pauses, fault, requests):
    with server(B, fault=fault) as (url, seen): fetch_b(tmp_path, url)
    assert contents(tmp_path) == B and len(seen) == requests and pauses == [.5, 1][:requests - 1]


def test_a_server_that_stays_busy_or_refuses_is_named(tmp_path, pauses):
    with server(B, fault=busy(502, 99)) as (url, seen), pytest.raises(AuthorsLogsMissing, match='b.csv .*502.*after 3 tries.*REGMIX_AUTHORS_DIR'): fetch_b(tmp_path, url)
    assert len(seen) == 3 and contents(tmp_path) == {}
    with server(B, fault=busy(403, 99)) as (url, seen), pytest.raises(AuthorsLogsMissing, match='b.csv .*403'): fetch_b(tmp_path, url)
    assert len(seen) == 1


@pytest.mark.parametrize('drip', [False, True])
def test_a_connection_that_stalls_is_given_up_and_gone_on_with(tmp_path, drip):
    with server(B, fault=lambda *a: stalls(*a, drip=drip)) as (url, seen):
        start = time.monotonic()
        fetch_b(tmp_path, url, timeout=.3)
        assert time.monotonic() - start < 5   # the drip would take six
    assert contents(tmp_path) == B and len(seen) == 2 and int(seen[1][1][6:-1]) >= 5000


@pytest.mark.parametrize('have', [0, 1000, len(BIG)])
def test_a_download_without_end_is_ended_by_the_known_size(tmp_path, have):
    if have: (tmp_path/'b.csv.part').write_bytes(BIG[:have])
    with server(B, fault=endless) as (url, seen), pytest.raises(WrongFile, match=rf'b.csv was refused; nothing was kept.*\({len(BIG) + 1} bytes'): fetch_b(tmp_path, url)
    assert contents(tmp_path) == {} and len(seen) == 1 + bool(have)


def test_the_sizes_of_the_eight_files_are_known(tmp_path, online, monkeypatch):
    asked = {}
    monkeypatch.setattr(paper, 'download', lambda url, to, sha256, size, **_: asked.update({to.name: size}))
    fetch_authors(tmp_path)
    assert asked == paper.load_authors_files()['bytes'].to_dict()


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(*_): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(paper, '_store', full)
    with server(B) as (url, _), pytest.raises(OSError, match=r'b.csv.part cannot be written \(No space left on device\)'): fetch_b(tmp_path, url)

# ---------------------------------------------------------------- the folder in place of the download

@pytest.fixture
def folder(tmp_path, monkeypatch):
    source = tmp_path/'source'; source.mkdir()
    for name, body in FILES.items(): (source/name).write_bytes(body)
    monkeypatch.setenv('REGMIX_AUTHORS_DIR', str(source))
    return source


def test_folder_is_copied_and_verified(folder, tmp_path):
    fetch_authors(tmp_path/'dest', SHA, 'http://127.0.0.1:9/never')
    assert contents(tmp_path/'dest') == FILES == contents(folder)
    assert authors_dir(SHA) == folder


def test_wrong_file_in_the_folder(folder, tmp_path):
    (folder/'b.csv').write_bytes(BIG[:-1])
    with pytest.raises(WrongFile, match='b.csv.*' + SHA['b.csv']): fetch_authors(tmp_path/'dest', SHA)
    with pytest.raises(WrongFile, match='b.csv'): authors_dir(SHA)
    assert contents(tmp_path/'dest') == {'a.csv': FILES['a.csv']}
    with pytest.raises(WrongFile): fetch_authors(folder, SHA)   # onto itself: the reader's file is left alone
    assert (folder/'b.csv').read_bytes() == BIG[:-1]


def test_incomplete_folder(folder, tmp_path):
    (folder/'b.csv').unlink()
    with pytest.raises(AuthorsLogsMissing, match='b.csv'): fetch_authors(tmp_path/'dest', SHA)
    with pytest.raises(AuthorsLogsMissing, match='missing: b.csv.*make data'): authors_dir(SHA)


def test_have_authors(folder, monkeypatch):
    assert not have_authors()   # the eight real files are not in there
    monkeypatch.setattr(paper, 'AUTHORS_FILES', SHA)
    assert have_authors()
    (folder/'a.csv').write_bytes(b'')
    with pytest.raises(WrongFile, match='a.csv'): have_authors()


def test_without_the_variable_the_folder_is_data_authors(tmp_path, online, monkeypatch):
    monkeypatch.setattr(paper, 'DATA', tmp_path)
    with pytest.raises(AuthorsLogsMissing, match='data/authors.*make data.*REGMIX_AUTHORS_DIR'): authors_dir(SHA)
    with server(FILES) as (url, _): fetch_authors(files=SHA, base_url=url)
    assert authors_dir(SHA) == tmp_path/'authors'

# ---------------------------------------------------------------- the command

@pytest.fixture
def toy_release(monkeypatch, online): monkeypatch.setattr(paper, 'AUTHORS_FILES', SHA)


def test_command_fetches(tmp_path, toy_release, monkeypatch, capsys):
    with server(FILES) as (url, _):
        monkeypatch.setattr(paper, 'AUTHORS_URL', url)
        assert paper.main(['--dest', str(tmp_path)]) == 0
    assert contents(tmp_path) == FILES and '2 files' in capsys.readouterr().out


def test_command_without_network(tmp_path, toy_release, monkeypatch, capsys):
    with server(FILES) as (url, _): monkeypatch.setattr(paper, 'AUTHORS_URL', url)
    assert paper.main(['--dest', str(tmp_path)]) == 1
    assert 'not fetched' in capsys.readouterr().err
    assert paper.main(['--dest', str(tmp_path), '--if-possible']) == 0
    out = capsys.readouterr().out
    assert out.count('\n') == 1 and 'REGMIX_AUTHORS_DIR' in out


@pytest.mark.parametrize('flags', [[], ['--if-possible']])
def test_command_fails_on_a_wrong_file(tmp_path, toy_release, monkeypatch, capsys, flags):
    with server(FILES | {'a.csv': b'<html>log in</html>'}) as (url, _):
        monkeypatch.setattr(paper, 'AUTHORS_URL', url)
        assert paper.main(['--dest', str(tmp_path), *flags]) == 1
    assert 'refused: a.csv' in capsys.readouterr().err and contents(tmp_path) == {}


def test_module_runs_as_a_command(tmp_path):
    "With an empty folder in place of the download there is nothing to be had, and the two ways to say so."
    env = os.environ | {'REGMIX_AUTHORS_DIR': str(tmp_path), 'PYTHONPATH': str(ROOT)}
    run = lambda *a: subprocess.run([sys.executable, '-m', 'regmix.paper', '--dest', str(tmp_path/'dest'), *a], env=env, capture_output=True, text=True)
    assert run().returncode == 1 and 'not fetched' in run().stderr
    r = run('--if-possible')
    assert r.returncode == 0 and 'not fetched' in r.stdout


# ---------------------------------------------------------------- the real logs

def test_released_weights_agree_with_appendix_g(authors):
    weights, _ = load_appendix_g()
    released = pd.read_csv(authors/'test_mixture_1B.csv', index_col='index')
    assert list(released.columns) == [d.train_column for d in DOMAINS.values()]
    gap = np.abs(released.to_numpy() - weights.to_numpy())
    whole = ~weights.index.isin(['24', '56', '64'])
    assert len(gap) == 64 and gap[whole].max() < 0.0005
    assert 0.0005 < gap[~whole].max() < 0.01   # cut off, never rounded up
    assert (released.to_numpy()[~whole] >= weights.to_numpy()[~whole]).all()


def test_columns_of_the_release(authors):
    losses = pd.read_csv(authors/'train_pile_loss_1m.csv', index_col='index')
    assert list(losses.columns) == [d.loss_column for d in DOMAINS.values() if d.has_loss]
    for name, rows in (('train_mixture_1m', 512), ('test_mixture_1m', 256), ('test_mixture_60m', 256), ('test_mixture_1B', 64)):
        assert pd.read_csv(authors/f'{name}.csv', index_col='index').shape == (rows, 17)


def test_fetching_the_real_logs_from_the_folder(authors, tmp_path, monkeypatch):
    monkeypatch.setenv('REGMIX_AUTHORS_DIR', str(authors))
    got = fetch_authors(tmp_path)
    assert {p.name for p in got.iterdir()} == set(paper.AUTHORS_FILES)
