"""The text of our own swarms, as corpora: how 17 domains, and 100 finer ones, were made from files by domain.

python data/replication/text.py TEXT CORPUS [--hundred]

TEXT is a folder of <domain>.jsonl.gz with the fields `text`, `source` ('repository:path') and, for the web, `url_site`;
sources.csv beside this file says what was in ours. GitHub comes from the source code that the installation carries.
"""
import argparse
import re

from regmix.corpora import build_corpus
from regmix.installed import read_installed
from regmix.text import Reader, chain, read_folder

# Text is held out by its source, but where a source holds a whole domain, by document, host or day
SPLIT = dict.fromkeys(['dm_mathematics', 'hackernews', 'nih_exporter', 'pubmed_abstracts', 'stackexchange'], 'document')
SPLIT |= {'pile_cc': 'host', 'ubuntu_irc': re.compile(r'\d{4}-\d\d-\d\d')}
VALID = {'nih_exporter': 0.15, 'ubuntu_irc': 0.08, 'wikipedia_en': 0.08, 'pile_cc': 0.1}

def seventeen(folder, out):
    "Build the corpus of 17 domains."
    text = chain(read_folder(folder), read_installed(by='language').as_domain('github', 14e6))
    return build_corpus(text, out, name='replica', vocab_size=4096, valid_fraction=VALID, split_by=SPLIT)


# --- 100 domains: a rule for each of the 17 says how it is cut; without one it stays whole ---

def named(**fragments): # key -> what stands in the source
    "Return a rule: the first key whose fragment stands in the source."
    def part_of_source(d): return next((k for k, f in fragments.items() if f in d.source), None)
    return part_of_source

def topics(**words): # key -> pattern of its words
    "Return a rule: the key whose words occur most often in the text (at least 3 times)."
    found = {k: re.compile(rf'\b(?:{w})s?\b', re.I) for k, w in words.items()}
    def most_words(d):
        n, key = max((len(p.findall(d.text)), k) for k, p in found.items())
        return key if n >= 3 else None
    return most_words

TASKS = {'algebra': 'lin1 lin2 roots seq', 'arithmetic': 'add_sub mult div mixed', 'calculus': 'diff', 'comparison': 'kth srt pair', 'measurement': 'conv',
         'numbers': 'base factors gcd lcm multiple place prime rem rnd', 'polynomials': 'collect compose evalp expand power', 'probability': 'swr'}
def task(d): # the groups of DeepMind's mathematics data
    return next((k for k, names in TASKS.items() if d.source.split(':')[1] in names.split()), None)

def court(d): # Australian judgments by year, US Supreme Court hearings by period
    m = re.search(r'fulltext/(\d\d)|cases/(\d{3})', d.source)
    return f'australia_20{m[1]}' if m[1] else 'us_before_1980' if m[2] < '198' else 'us_1980_1999' if m[2] < '200' else 'us_since_2000'

NEWS = r'news|times|post\b|guardian|bbc|cnn|reuters|wsj|tribune|herald|telegraph|mirror|journal|daily|gazette|chronicle|observer|usatoday|npr|pbs'
BLOGS = r'blogspot|wordpress|typepad|livejournal|tumblr|medium\.com|blog'
def site(d): # one large site, then news, blogs, and the rest by top-level domain
    h = d.host or ''
    return 'slashdot' if h == 'slashdot.org' else 'news' if re.search(NEWS, h) else 'blogs' if re.search(BLOGS, h) else h.rpartition('.')[2] or None

PACKAGE = r'^([^:]+):'
RULES = {
    'arxiv': r'(HoTT|LSST|cam-notes:I\w+?_|stacks-project)',
    'dm_mathematics': task,
    'enron_emails': r'/(\w+-\w)_',
    'europarl': r'/(\d{4})-',
    'freelaw': court,
    'gutenberg_pg_19': r':(.+?)/',
    'hackernews': named(threads='westurner', comments='hn_comments'),
    'philpapers': named(classics='mlschmitt', weatherson='bweatherson', open_logic='OpenLogic'),
    'pile_cc': site,
    'pubmed_abstracts': r'(pubmedqa|[\w-]+(?=\.csv))',
    'pubmed_central': r'(CRAFT|elsevier|(?<=journal\.)\w+)',
    'stackexchange': named(cardano='Igodlab', beer='beer', music_meta='spreusche', cstheory_meta='szyyn95'),
    'ubuntu_irc': r'/(\d{4})-',
    'uspto_backgrounds': topics(networks='network(?:ing)?|packet|router|wireless|mobile|base station', images='image|imaging|video|camera|display(?:ed)?|graphic|pixel',
                                data='database|quer(?:y|ies)|search(?:es|ing)?|document|customer|business|social', systems='processor|memory|storage|virtual|instruction|cache'),
    'wikipedia_en': topics(history='war|army|battle|king|emperor|empire|treaty|military|troop|century|dynasty|navy', arts='film|album|song|novel|music(?:al)?|band|poem|poet|actor|actress|game|artist|fiction|character',
                           science='species|theory|energy|cell|chemical|mathematic|physics|function|equation|disease|acid|software|computer', places='city|cities|river|population|town|region|island|county|airport|climate|village|street',
                           society='government|law|party|president|election|political|economic|religio(?:n|us)|church|god|social'),
    'github_python': PACKAGE, 'github_cpp': PACKAGE, 'github_cython': PACKAGE}
LEAST = dict.fromkeys(RULES, 300e3) | {'gutenberg_pg_19': 250e3, 'pubmed_abstracts': 500e3, 'pubmed_central': 400e3, 'ubuntu_irc': 500e3}
DROP = ['arxiv_other', 'dm_mathematics_other', 'github_cpp_other', 'github_cython_other', 'wikipedia_en_other'] # small, or of no kind

def hundred(folder, out):
    "Build the corpus of 100 domains; text is held out by document, so pieces of one book or page may lie on both sides."
    whole = chain(read_folder(folder), read_installed(by='language').rename(lambda d: f'github_{d}')).cut(RULES, LEAST).capped(6e6)
    kept = Reader(lambda problems: (d for d in whole.generate(problems) if d.domain not in DROP), lambda: whole.facts | {'dropped': DROP})
    corpus = build_corpus(kept, out, name='hundred', vocab_size=4096, valid_fraction=0.15, split_by='document')
    if len(corpus.domains) != 100: raise SystemExit(f'{len(corpus.domains)} domains instead of 100: the rules above depend on the text and on the installed packages')
    return corpus

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('text'); p.add_argument('corpus'); p.add_argument('--hundred', action='store_true')
    a = p.parse_args()
    print((hundred if a.hundred else seventeen)(a.text, a.corpus).summary().round(3).to_string())
