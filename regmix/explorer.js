'use strict';
/* The mixture explorer: plain JavaScript, nothing fetched.

   1 small helpers          5 mixture and losses
   2 the laws               6 who helps whom, and one curve
   3 mixtures               7 the search
   4 state and link         8 keys, and the start

   `write_explorer` puts the laws into the element #data: numbers of formulas as they are, trees packed.
   What is computed here is what `regmix.report.predict_band` computes; the page checks that when it opens. */

// ----------------------------------------------------------------------------------------------------- 1 small helpers

const $ = id => document.getElementById(id);
const sum = a => a.reduce((s, v) => s + v, 0);
const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
const percent = (w, digits = 1) => (100 * w).toFixed(digits) + '%';
const number = v => {   // three decimals, where they say something
  if (!Number.isFinite(v)) return '?';
  return Math.abs(v) >= 1000 || v !== 0 && Math.abs(v) < 1e-3 ? v.toPrecision(3) : v.toFixed(3);
};
const signed = v => (v > 0 ? '+' : v < 0 ? '−' : '±') + number(Math.abs(v));
const missing = v => v === null || v === undefined || Number.isNaN(v);

function make(tag, set = {}, ...inside) {   // an element; text goes in as text, so that any name is safe
  const at = document.createElement(tag);
  for (const [k, v] of Object.entries(set)) {
    if (k.startsWith('on')) at.addEventListener(k.slice(2), v);
    else if (v !== false && v !== null && v !== undefined) at.setAttribute(k, v === true ? '' : v);
  }
  at.append(...inside);
  return at;
}

function draw(tag, set = {}, text = '') {   // the same in SVG
  const at = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [k, v] of Object.entries(set)) at.setAttribute(k, v);
  at.textContent = text;
  return at;
}

function later(work, wait) {   // do it once, when nothing has asked for it for a while
  let timer;
  return () => { clearTimeout(timer); timer = setTimeout(work, wait); };
}

function randoms(seed) {   // mulberry32: the same numbers for the same seed, in every browser
  return () => {
    seed = seed + 0x6D2B79F5 | 0;
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
}

function normal(random) { return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()); }

function gamma(shape, random) {   // Marsaglia and Tsang, 2000
  if (shape < 1) return gamma(shape + 1, random) * (1 - random()) ** (1 / shape);
  const d = shape - 1 / 3, c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random), v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - random()) < x * x / 2 + d - d * v + d * Math.log(v)) return d * v;
  }
}

// ---------------------------------------------------------------------------------------------------------- 2 the laws

const LAWS = {
  // a + b·p
  line: (m, p) => m.slopes.reduce((s, b, i) => s + b * p[i], m.intercept),
  // floor + sign · exp(a·p)
  exponential: (m, p) => m.floor + m.sign * Math.exp(m.exponents.reduce((s, a, i) => s + a * p[i], 0)),
  // Boosted trees. The splits of a tree stand root first, and `near` and `far` are the first leaves on either side. So
  // a step to the right skips the splits of the left side, and a split that begins elsewhere ends the walk: at a leaf.
  // Leaves are whole numbers of a small unit, so that their sum is exact.
  trees(m, p) {
    let total = 0, node = m.node, leaf = m.leaf;
    const {feature, threshold, near, far, value, leaves} = m.forest;
    for (let t = m.tree; t < m.end; t++) {
      const end = node + leaves[t] - 1;
      let at = 0;
      for (let k = node; k < end && near[k] === at;)
        if (p[feature[k]] > threshold[k]) { at = far[k]; k += at - near[k]; } else k++;
      total += value[leaf + at];
      leaf += leaves[t];
      node = end;
    }
    return m.base + total * m.forest.unit;
  },
};

function deviation(m, p) {   // standard deviation of a new run, where the law knows one: derivatives times covariance
  if (!m.covariance) return NaN;
  const rest = m.sign * Math.exp(m.exponents.reduce((s, a, i) => s + a * p[i], 0)), J = [m.by_floor];
  for (const w of p) J.push(rest * w);
  let v = m.noise ** 2;
  for (let i = 0, k = 0; i < J.length; i++)
    for (let j = i; j < J.length; j++, k++) v += (i === j ? 1 : 2) * J[i] * J[j] * m.covariance[k];
  return Math.sqrt(v);
}

function value(set, law, t, p) {   // of one target, as measured: in its own direction, inside its range
  const m = law.models[t], about = set.targets[t], found = LAWS[m.kind](m, p) + (m.above || 0);
  return clamp(about.higher ? -found : found, about.low ?? -Infinity, about.high ?? Infinity);
}

function predictOne(set, law, t, p) {   // [value, low, high]: 1.96 times the error, or what the law says if that is more
  const about = set.targets[t], v = value(set, law, t, p), error = law.error[t] ?? NaN, sd = deviation(law.models[t], p);
  const half = 1.96 * (Number.isNaN(sd) ? error : Number.isNaN(error) ? sd : Math.max(sd, error));
  return [v, ...[v - half, v + half].map(end => clamp(end, about.low ?? -Infinity, about.high ?? Infinity))];
}

const predict = (set, law, p) => set.targets.map((_, t) => predictOne(set, law, t, p));

async function unpack({kind, count, bytes}) {   // numbers by planes of bytes, deflated, in base64
  const packed = Uint8Array.from(atob(bytes), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer()), size = planes.length / count || 1;
  const back = new Uint8Array(planes.length);
  for (let b = 0; b < size; b++) for (let i = 0; i < count; i++) back[i * size + b] = planes[b * count + i];
  return new {u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array, f8: Float64Array}[kind](back.buffer);
}

async function ready(law) {   // trees are unpacked when they are first asked for
  if (!law.forest || law.forest.threshold) return;
  const f = law.forest, names = ['feature', 'cut', 'near', 'far', 'value', 'leaves', 'cuts'];
  const got = Object.fromEntries(await Promise.all(names.map(async n => [n, await unpack(f[n])])));
  const threshold = Float64Array.from(got.cut, (c, k) => got.cuts[f.start[got.feature[k]] + c]);
  let tree = 0, node = 0, leaf = 0;
  for (const m of law.models) {
    Object.assign(m, {forest: f, tree, node, leaf, end: tree + m.trees});
    for (; tree < m.end; tree++) { node += got.leaves[tree] - 1; leaf += got.leaves[tree]; }
  }
  Object.assign(f, got, {threshold});
}

function largestDifference(set, law) {   // between this page and the package, over the presets
  const wanted = (law.check || []).flat(2), found = set.presets.flatMap(x => predict(set, law, x.mixture).flat());
  const apart = wanted.map((v, i) => (missing(v) ? 0 : Math.abs(found[i] - v)));
  return Math.max(0, ...apart.map(d => (Number.isNaN(d) ? Infinity : d)));
}

// ---------------------------------------------------------------------------------------------------------- 3 mixtures

function move(p, i, to, pins, spare) {   // give a domain another weight; those not pinned share the rest in proportion
  const free = p.map((_, j) => j).filter(j => j !== i && !pins.has(j));
  const kept = sum(p.filter((_, j) => j !== i && pins.has(j))), q = p.slice();
  if (!free.length) return q;
  q[i] = clamp(to, 0, Math.max(0, 1 - kept));
  const shares = [p, spare, p.map(() => 1)].find(s => sum(free.map(j => s[j])) > 1e-6);
  const all = sum(free.map(j => shares[j]));
  for (const j of free) q[j] = Math.max(0, 1 - q[i] - kept) * shares[j] / all;
  return q;
}

function nearest(set, p) {   // the run to which the least weight would have to move (total variation)
  let best = Infinity, run = -1;
  set.runs.weights.forEach((row, r) => {
    let apart = 0;
    for (let j = 0; j < row.length; j++) apart += Math.abs(row[j] - p[j]);
    if (apart < best) { best = apart; run = r; }
  });
  return {run, distance: best / 2};
}

// ---------------------------------------------------------------------------------------------------- 4 state and link

const book = JSON.parse($('data').textContent);
const S = {
  set: null, law: null,              // of the data
  p: [], pins: new Set(),            // the mixture, and the numbers of the domains that are pinned
  aim: 0, guard: null, near: null,   // of the search: target (-1: all), limits (null: none)
  cell: [0, 0],                      // target and domain of the curve
  path: null, busy: 0, enough: false,   // the search that is done; the one that runs; whether it is asked to stop
};
const past = [];   // mixtures and pins, for undo
const times = [];  // milliseconds that each change took, computed and drawn

const plural = (n, what) => `${n} ${what}${n === 1 ? '' : 's'}`;
const better = (t, change) => (S.set.targets[t].higher ? change > 0 : change < 0);
const lossOf = (t, v) => (S.set.targets[t].higher ? -v : v);

function prepare(set) {   // what follows from the data of a set
  set.spare = set.domains.map((_, j) => sum(set.runs.weights.map(r => r[j])) / set.runs.weights.length);
  set.most = set.domains.map((_, j) => Math.max(...set.runs.weights.map(r => r[j])));
  set.least = set.domains.map((_, j) => Math.min(...set.runs.weights.map(r => r[j])));
  set.reference = set.presets.find(x => x.reference) || {reference: 'the average of the runs', mixture: set.spare};
}

function remember() {
  past.push({p: S.p.slice(), pins: new Set(S.pins)});
  if (past.length > 200) past.shift();
}

function link() {   // what is shown, as the part of an address after #
  const ask = new URLSearchParams(), {set} = S, known = set.presets.find(x => x.mixture.every((w, j) => w === S.p[j]));
  if (book.sets.length > 1) ask.set('runs', set.name);
  ask.set('law', S.law.name);
  ask.set('mix', known ? known.name : S.p.map(w => +w.toFixed(9)).join(','));
  for (const j of [...S.pins].sort((a, b) => a - b)) ask.append('pin', set.domains[j].name);
  ask.set('aim', S.aim < 0 ? '*' : set.targets[S.aim].name);
  if (S.guard !== null) ask.set('guard', S.guard);
  if (S.near !== null) ask.set('near', S.near);
  ask.set('show', `${S.cell[0]},${S.cell[1]}`);
  return '#' + ask;
}

function readMix(text, set) {   // a preset's name, or weights
  const preset = set.presets.find(x => x.name === text);
  if (preset) return preset.mixture.slice();
  const weights = text.split(',').map(Number);
  if (weights.length !== set.domains.length || !weights.every(w => w >= 0)) return null;
  return Math.abs(sum(weights) - 1) < 1e-6 ? weights : null;
}

async function follow(hash) {   // bring back what a link holds; say what it does not hold
  const ask = new URLSearchParams(hash.replace(/^#/, '')), lost = [];
  const pick = (key, all, name = x => x.name) => {
    if (!ask.has(key)) return undefined;
    const found = all.find(x => name(x) === ask.get(key));
    if (!found) lost.push(`${key} ${ask.get(key)}`);
    return found;
  };
  const numeric = (key, most) => {
    if (!ask.has(key)) return null;
    const v = Number(ask.get(key));
    if (ask.get(key).trim() !== '' && v >= 0 && v <= most) return v;
    lost.push(`${key} ${ask.get(key)}`);
    return null;
  };
  const set = pick('runs', book.sets) || book.sets[0], mix = ask.has('mix') ? readMix(ask.get('mix'), set) : null;
  if (ask.has('mix') && !mix) lost.push('its mixture');
  const law = pick('law', set.laws) || set.laws.find(x => x.name === set.start) || set.laws[0];
  const aim = ask.get('aim') === '*' ? -1 : pick('aim', set.targets);
  const pins = ask.getAll('pin'), names = set.domains.map(d => d.name);
  for (const n of pins.filter(n => !names.includes(n))) lost.push(`pin of ${n}`);
  const cell = (ask.get('show') || '').split(',').map(Number);
  await show(set, law, mix || (S.set === set ? S.p : set.presets[0].mixture.slice()));
  S.pins = new Set(pins.map(n => names.indexOf(n)).filter(j => j >= 0));
  if (aim === -1) S.aim = -1; else if (aim) S.aim = set.targets.indexOf(aim);
  if (ask.size) { S.guard = numeric('guard', Infinity); S.near = numeric('near', 1); }
  if (cell.length === 2 && set.targets[cell[0]] && set.domains[cell[1]]) S.cell = cell;
  fillAsk();
  update();
  if (lost.length) tell(`This page does not know what the link asks for: ${lost.join('; ')}. The rest is shown.`);
}

let written = '';   // the last link that this page put into its own address
const keepLink = later(() => {
  written = link();
  try { history.replaceState(null, '', written); } catch { location.hash = written; }
}, 250);

function tell(text) { $('told').textContent = text; }

// ------------------------------------------------------------------------------------------------ 5 mixture and losses

let rows = [], lines = [];   // what is updated at each change: of each domain, of each target

function choices(box, all, picked, name, pick) {   // radio buttons that look like one switch
  const button = x => make('input', {type: 'radio', name, value: x.name, checked: x === picked, onchange: () => pick(x)});
  box.querySelector('.choices').replaceChildren(
    ...all.map(x => make('label', {title: x.about || null}, button(x), make('span', {}, x.title))));
}

async function show(set, law, p) {   // another set of runs, or another law: make the controls that change anew
  const other = S.set !== set;
  law = await usable(set, law);
  Object.assign(S, {set, law, p: p.slice()});
  if (other) build();
  const same = x => x.laws.find(l => l.name === S.law.name) || x.laws[0];
  choices($('sets'), book.sets, set, 'set', x => change(() => show(x, same(x), carry(x))));
  choices($('laws'), set.laws, law, 'law', x => change(() => show(S.set, x, S.p)));
  $('sets').hidden = book.sets.length < 2;
  $('about').textContent = [set.about, law.about].filter(Boolean).join(' ');
  facts();
}

async function usable(set, law) {   // the law, or one without trees where a browser cannot unpack them
  try { await ready(law); } catch (e) {
    const plain = set.laws.find(l => !l.forest);
    if (!plain) throw e;
    tell(`This browser cannot unpack ${law.title} (${e.message}). Shown is ${plain.title}.`);
    return plain;
  }
  const most = largestDifference(set, law), count = (law.check || []).flat(2).length;
  $('check').textContent = most < 1e-6
    ? `Checked now: ${law.title} gives the package's own numbers (${count}, largest difference ${most.toExponential(0)}).`
    : `WARNING: in this browser ${law.title} does not give the package's numbers (they differ by ${most.toPrecision(2)}). `
      + 'Do not rely on it.';
  return law;
}

function carry(set) {   // the same mixture among other runs, if they have the same domains; else their first preset
  const names = S.set.domains.map(d => d.name);
  if (set.domains.length === names.length && set.domains.every(d => names.includes(d.name)))
    return set.domains.map(d => S.p[names.indexOf(d.name)]);
  tell('These runs have other domains, so the mixture is their first preset now.');
  return set.presets[0].mixture.slice();
}

async function change(work) {   // anything that a person does: remembered, then shown
  const before = S.set, pinned = [...S.pins].map(j => S.set.domains[j].name);
  remember();
  await work();
  if (S.set !== before)   // the same domains stay pinned, wherever they stand now
    S.pins = new Set(pinned.map(name => S.set.domains.findIndex(d => d.name === name)).filter(j => j >= 0));
  leavePath();
  update();
}

function leavePath() {   // a search, running or done, is about another mixture now
  S.busy = 0;
  S.path = null;
  $('go').textContent = 'Search';
  $('path').hidden = true;
  $('found').textContent = '';
}

const LOCK = ['M5.5 7V5a2.5 2.5 0 0 1 5 0', 'M5.5 7V5a2.5 2.5 0 0 1 5 0v2'];

function lock() {
  const at = draw('svg', {viewBox: '0 0 16 16', 'aria-hidden': 'true'});
  at.append(draw('rect', {x: 3.5, y: 7, width: 9, height: 6.5, rx: 1.5}), draw('path', {d: LOCK[0]}));
  return at;
}

function build() {   // the controls of a set
  const {set} = S;
  past.length = 0;
  S.pins = new Set();
  S.aim = Math.max(0, set.targets.findIndex(t => t.name === set.aim));
  S.near = Math.floor(100 * set.usual) / 100;
  S.cell = [S.aim, Math.max(0, set.domains.findIndex(d => d.name === set.targets[S.aim].name))];
  rows = set.domains.map((d, j) => domainRow(d.title, j));
  $('weights').replaceChildren(...rows.map(r => r.item));
  lines = set.targets.map(lossRow);
  $('losses').querySelector('tbody').replaceChildren(...lines.map(l => l.item));
  $('presets').querySelector('.chips').replaceChildren(...set.presets.map(x => make('button',
    {type: 'button', title: x.about || null, 'aria-pressed': 'false', onclick: () => usePreset(x)}, x.title)));
  for (const at of document.querySelectorAll('.reference')) at.textContent = set.reference.reference;
  $('aim').replaceChildren(make('option', {value: -1}, set.targets.length > 1 ? 'all of them, on average' : 'all'),
    ...set.targets.map((t, i) => make('option', {value: i}, t.title)));
  $('near').value = Math.round(100 * S.near);
  $('near-on').checked = true;
  fillAsk();
  buildMap();
}

function domainRow(title, j) {
  const tool = (label, title, work, face) =>
    make('button', {type: 'button', 'aria-label': `${label}`, title, onclick: work}, face);
  const r = {
    pin: tool(`Pin ${title}`, 'Pin (P)', () => pin(j), lock()),
    slider: make('input', {type: 'range', min: 0, max: 100, step: 0.1, 'aria-label': `Weight of ${title}`}),
    field: make('input', {type: 'number', min: 0, max: 100, step: 0.1, 'aria-label': `Weight of ${title} in per cent`}),
    zero: tool(`Set ${title} to zero`, 'Set to zero (Z)', () => change(() => weigh(j, 0)), '0'),
  };
  let held = false;   // a drag is one step of undo
  const begin = () => { if (!held) remember(); held = true; };
  const drag = to => { begin(); leavePath(); weigh(j, to / 100); update(); };
  r.slider.addEventListener('input', () => drag(r.slider.valueAsNumber));
  r.slider.addEventListener('change', () => { held = false; });
  r.field.addEventListener('change', () => {
    const to = r.field.valueAsNumber;
    if (Number.isNaN(to)) tell(`${title}: a weight is a number from 0 to 100. It stays at ${percent(S.p[j])}.`);
    else drag(to);
    held = false;
    update();
  });
  r.slide = make('span', {class: 'slide'}, r.slider, make('i'));
  r.item = make('li', {'data-domain': j}, r.pin, make('span', {class: 'name'}, title), r.slide, r.field, r.zero);
  r.slide.style.setProperty('--prior', S.set.reference.mixture[j]);
  r.slide.style.setProperty('--most', S.set.most[j]);
  return r;
}

function weigh(j, to) {   // the rest makes room; say where it cannot
  const {set, p, pins} = S, top = 1 - sum(p.filter((_, k) => k !== j && pins.has(k)));
  if (p.every((_, k) => k === j || pins.has(k))) tell('All other weights are pinned, so this one cannot move. Free one.');
  else if (to > top + 1e-9) tell(`The pinned weights leave ${percent(top)} at most for ${set.domains[j].title}.`);
  else if (to < 0) tell('A weight cannot be below zero.');
  else tell('');
  S.p = move(p, j, to, pins, set.spare);
}

function pin(j) {
  remember();
  if (S.pins.has(j)) S.pins.delete(j); else S.pins.add(j);
  leavePath();
  update();
}

function usePreset(x) { tell(''); return change(() => { S.p = x.mixture.slice(); }); }

function undo() {
  const last = past.pop();
  if (!last) return tell('Nothing to undo.');
  Object.assign(S, last);
  tell('');
  leavePath();
  update();
}

function lossRow(about) {
  const l = {value: make('b'), span: make('small'), change: make('td', {role: 'cell'})};
  for (const part of ['band', 'was', 'dot']) l[part] = make('span', {class: part});
  const spot = make('div', {class: 'spot'}, l.band, l.was, l.dot);
  l.item = make('tr', {role: 'row'}, make('th', {scope: 'row', role: 'rowheader'}, about.title),
    make('td', {role: 'cell'}, l.value, ' ', l.span), l.change,
    make('td', {class: 'wide', role: 'cell', 'aria-hidden': 'true'}, spot));
  const wide = about.highest - about.lowest || 1;
  l.place = v => 100 * clamp((v - about.lowest) / wide, 0, 1);
  l.out = v => v < about.lowest - 1e-9 || v > about.highest + 1e-9;
  return l;
}

function drawWeights() {
  rows.forEach((r, j) => {
    const w = S.p[j], stuck = rows.every((_, k) => k === j || S.pins.has(k));
    r.slider.value = 100 * w;
    r.slider.setAttribute('aria-valuetext', percent(w));
    if (document.activeElement !== r.field || r.field.valueAsNumber / 100 !== w)   // what was typed stays as it was typed
      r.field.value = w > 0 && w < 0.001 ? +(100 * w).toPrecision(2) : (100 * w).toFixed(1);
    r.slider.disabled = r.field.disabled = stuck;
    r.slide.style.setProperty('--at', w);
    r.slide.classList.toggle('beyond', w > S.set.most[j] + 0.005);
    r.pin.setAttribute('aria-pressed', S.pins.has(j));
    r.pin.querySelector('path').setAttribute('d', LOCK[S.pins.has(j) ? 1 : 0]);
  });
  const at = $('presets').querySelectorAll('button');
  S.set.presets.forEach((x, i) => at[i].setAttribute('aria-pressed', x.mixture.every((w, j) => w === S.p[j])));
}

function drawLosses(found, before) {
  lines.forEach((l, t) => {
    const [v, low, high] = found[t], was = before[t][0], by = v - was;
    l.value.textContent = number(v);
    l.span.textContent = missing(low) ? 'no interval' : `${number(low)}–${number(high)}`;
    l.change.textContent = Math.abs(by) < 5e-4 ? '0' : signed(by);
    l.change.className = Math.abs(by) < 5e-4 ? '' : better(t, by) ? 'good' : 'bad';
    l.item.classList.toggle('over', overGuard(t, v, was) > 0);
    l.band.style.left = `${l.place(low)}%`;
    l.band.style.width = `${missing(low) ? 0 : l.place(high) - l.place(low)}%`;
    l.was.style.left = `${l.place(was)}%`;
    l.dot.style.left = `${l.place(v)}%`;
    l.dot.classList.toggle('off', l.out(v));
  });
}

function overGuard(t, v, was) {   // by how much a target is worse than the limit allows
  return S.guard === null ? 0 : Math.max(0, lossOf(t, v) - lossOf(t, was) - S.guard - 1e-9);
}

function aimed(found) {   // what is to be lowered: one target, or the average of all, which has no interval
  if (S.aim >= 0) return [S.set.targets[S.aim].title, ...found[S.aim]];
  return ['Average', sum(found.map(r => r[0])) / found.length, null, null];
}

function drawStrip(found, before, near) {
  const {set} = S, far = near.distance > set.usual + 1e-9;
  const [title, v, low, high] = aimed(found), by = v - aimed(before)[1];
  const over = set.targets.filter((_, t) => overGuard(t, found[t][0], before[t][0]) > 0).map(x => x.title);
  $('aimed').replaceChildren(`${title}: `, make('b', {}, number(v)),
    missing(low) ? '' : ` (${number(low)} to ${number(high)})`,
    Math.abs(by) < 5e-4 ? '' : `, ${signed(by)} against ${set.reference.reference}`);
  $('distance').textContent = `${far ? '⚠ Extrapolated: nearest' : 'Nearest'} run ${set.runs.names[near.run]}, `
    + `${percent(near.distance)} of the weight away${far ? ` (usual: ${percent(set.usual)} at most)` : ''}`;
  $('limits').textContent = S.guard === null ? '' : !over.length ? `✓ No loss is over the limit of ${S.guard}`
    : `⚠ Over the limit of ${S.guard}: ${over.length > 3 ? `${over.length} losses` : over.join(', ')}`;
  $('strip').classList.toggle('far', far);
}

const finish = later(() => {   // what may wait until a drag rests
  drawMap();
  drawCurve();
  keepLink();
  $('say').textContent = ['aimed', 'distance', 'limits'].map(id => $(id).textContent).filter(Boolean).join('. ');
}, 120);

function update() {
  const start = performance.now(), {set, law, p} = S;
  const found = predict(set, law, p), before = law.before ??= predict(set, law, set.reference.mixture);
  drawWeights();
  drawLosses(found, before);
  drawStrip(found, before, nearest(set, p));
  $('undo').disabled = !past.length;
  $('unpin').disabled = !S.pins.size;
  finish();
  times.push(performance.now() - start);
  if (times.length > 1000) times.shift();
}

function facts() {   // how good the law is, as measured
  const {set, law} = S, row = (cell, words) => make('tr', {}, ...words.map(x => make(cell, {}, x)));
  const about = set.targets.map((x, t) => [x.title, ...[law.rho[t], law.error[t]].map(v => number(v ?? NaN))]);
  $('facts').replaceChildren(
    make('p', {class: 'note'}, `${law.title}, measured on ${set.measured}. ρ: rank correlation of predicted and measured. `,
      `Error: root of the mean squared error, ${set.unit || 'in the unit of the target'}. `,
      'An interval is 1.96 times the error, or what the law itself says of a new run if that is more.'),
    make('table', {}, make('thead', {}, row('th', ['', 'ρ', 'error'])), make('tbody', {}, ...about.map(x => row('td', x)))),
    ...set.notes.map(x => make('p', {class: 'note'}, x)));
}

// ------------------------------------------------------------------------------------- 6 who helps whom, and one curve

const SHOWN = 30;   // domains and targets of the map at most
let cells = [], columns = [], squares = [];   // the targets and domains that it shows, and its squares

function largest(all, size) {   // numbers of the largest, in their own order
  return all.map((_, i) => i).sort((a, b) => size(b) - size(a)).slice(0, SHOWN).sort((a, b) => a - b);
}

function buildMap() {
  const {set} = S, spread = t => set.targets[t].highest - set.targets[t].lowest;
  cells = largest(set.targets, spread);
  columns = largest(set.domains, j => Math.max(set.most[j], set.reference.mixture[j]));
  const square = (t, j) => make('div', {role: 'button', tabindex: -1, onclick: () => pickCell(t, j)});
  const above = ({title}) => make('th', {scope: 'col', role: 'columnheader'}, make('span', {title}, title));
  const beside = ({title}) => make('th', {scope: 'row', role: 'rowheader'}, title);
  squares = cells.map(t => columns.map(j => square(t, j)));
  const head = make('tr', {role: 'row'}, make('td', {role: 'gridcell'}), ...columns.map(j => above(set.domains[j])));
  const body = cells.map((t, a) => make('tr', {role: 'row'}, beside(set.targets[t]),
    ...squares[a].map(div => make('td', {role: 'gridcell'}, div))));
  $('map').querySelector('table').replaceChildren(
    make('thead', {role: 'rowgroup'}, head), make('tbody', {role: 'rowgroup'}, ...body));
  const left = [set.domains.length - columns.length, set.targets.length - cells.length];
  const words = `${plural(left[0], 'domain')} that runs had least of, ${plural(left[1], 'target')} that vary least.`;
  $('map-left').textContent = sum(left) ? `Not shown here: ${words}` : '';
}

function drawMap() {   // a tenth of what the other free domains have goes to the column's domain
  const {set, law, p, pins} = S, now = set.targets.map((_, t) => value(set, law, t, p));
  const table = columns.map(j => {
    const q = move(p, j, p[j] + 0.1 * sum(p.filter((_, k) => k !== j && !pins.has(k))), pins, set.spare);
    return cells.map(t => value(set, law, t, q) - now[t]);
  });
  const sizes = table.flat().map(Math.abs).sort((a, b) => a - b);
  const most = sizes[Math.floor(0.95 * (sizes.length - 1))] || 1;   // one in twenty has the full colour
  cells.forEach((t, a) => columns.forEach((j, b) => {
    const by = table[b][a], div = squares[a][b], here = t === S.cell[0] && j === S.cell[1];
    const strength = Math.min(1, Math.abs(by) / most), ink = better(t, by) ? 'blue' : 'orange';
    div.style.background = `color-mix(in srgb, var(--${ink}) ${Math.round(85 * strength ** 0.8)}%, var(--line))`;
    div.style.color = strength > 0.55 ? 'var(--page)' : 'var(--text)';
    div.textContent = Math.abs(by) < 0.005 ? '·' : by.toFixed(2).replace('-', '−').replace('0.', '.');
    div.setAttribute('aria-label', `${set.targets[t].title} with more ${set.domains[j].title}: ${signed(by)}`);
    div.tabIndex = here ? 0 : -1;
    div.parentNode.setAttribute('aria-selected', here);
  }));
  if (!squares.flat().some(d => d.tabIndex === 0)) squares[0][0].tabIndex = 0;   // what is chosen is not shown
}

function pickCell(t, j) {
  S.cell = [t, j];
  drawMap();
  drawCurve();
  keepLink();
}

function steerMap(event) {   // arrows walk over the map; Enter or space chooses
  const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
  const a = squares.findIndex(row => row.includes(event.target)), b = a < 0 ? -1 : squares[a].indexOf(event.target);
  if (a < 0) return;
  if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); pickCell(cells[a], columns[b]); return; }
  const to = step && squares[a + step[0]]?.[b + step[1]];
  if (!step) return;
  event.preventDefault();
  if (!to) return;
  event.target.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}

function frame(box, height, label) {   // an SVG as wide as its place
  const width = Math.max(box.clientWidth, 240);
  const svg = draw('svg', {viewBox: `0 0 ${width} ${height}`, height, role: 'img', 'aria-label': label});
  box.replaceChildren(svg);
  return {svg, width, height, left: 46, right: width - 8, top: 10, bottom: height - 24};
}

function scales(f, x, y) {   // from values to places
  const span = (y[1] - y[0]) || 1, low = y[0] - 0.06 * span, high = y[1] + 0.06 * span, wide = (x[1] - x[0]) || 1;
  return {
    ends: y,
    x: v => f.left + (f.right - f.left) * (v - x[0]) / wide,
    y: v => f.bottom - (f.bottom - f.top) * (v - low) / (high - low),
  };
}

function axes(f, at, x, asX) {
  for (const v of [at.ends[0], (at.ends[0] + at.ends[1]) / 2, at.ends[1]]) {
    f.svg.append(draw('line', {class: 'axis', x1: f.left, x2: f.right, y1: at.y(v), y2: at.y(v)}));
    f.svg.append(draw('text', {x: f.left - 6, y: at.y(v) + 4, 'text-anchor': 'end'}, v.toFixed(2)));
  }
  x.forEach((v, i) => {
    const anchor = i === 0 ? 'start' : i === x.length - 1 ? 'end' : 'middle';
    f.svg.append(draw('text', {x: at.x(v), y: f.height - 6, 'text-anchor': anchor}, asX(v)));
  });
}

const polyline = points => points.map(([x, y], i) => `${i ? 'L' : 'M'}${x.toFixed(1)},${y.toFixed(1)}`).join('');

function curvePoints(t, j, count = 49) {   // along the weight of a domain, a little beyond what runs had
  const {set, law, p, pins} = S, kept = sum(p.filter((_, k) => k !== j && pins.has(k)));
  const end = Math.min(1 - kept, Math.max(1.1 * set.most[j], p[j]));
  return Array.from({length: count}, (_, i) => {
    const w = end * i / (count - 1), q = move(p, j, w, pins, set.spare), [v, low, high] = predictOne(set, law, t, q);
    const seen = nearest(set, q).distance <= set.usual + 1e-9;
    return {w, v, low: missing(low) ? v : low, high: missing(high) ? v : high, seen};
  });
}

function drawCurve() {
  const {set, law, p} = S, [t, j] = S.cell, points = curvePoints(t, j), last = points.at(-1), now = value(set, law, t, p);
  const what = `${set.targets[t].higher ? '' : 'Loss on '}${set.targets[t].title}`;
  const title = `${what} along the weight of ${set.domains[j].title}`;
  const label = `${title}: ${number(points[0].v)} at 0%, ${number(now)} now at ${percent(p[j])}, `
    + `${number(last.v)} at ${percent(last.w)}`;
  const near = points.filter(x => x.seen), shown = near.length ? near : points, all = points.map(x => x.v);
  const ends = [Math.min(...all, ...shown.map(x => x.low)), Math.max(...all, ...shown.map(x => x.high))];
  $('curve').querySelector('h3').textContent = title;
  const f = frame($('curve').querySelector('.chart'), 220, label), at = scales(f, [0, last.w], ends);
  const line = (list, height) => list.map(x => [at.x(x.w), at.y(x[height])]);
  const put = (tag, set) => f.svg.append(draw(tag, set));
  axes(f, at, [0, last.w / 2, last.w], w => percent(w, last.w < 0.1 ? 1 : 0));
  for (const part of stretches(points))
    put('path', {class: 'band', d: polyline([...line(part, 'high'), ...line(part, 'low').reverse()]) + 'Z'});
  const was = set.reference.mixture[j];
  if (was <= last.w) put('line', {class: 'was', x1: at.x(was), x2: at.x(was), y1: f.top, y2: f.bottom});
  put('path', {class: 'guess', d: polyline(line(points, 'v'))});
  for (const part of stretches(points)) put('path', {class: 'line', d: polyline(line(part, 'v'))});
  const ticks = [...new Set(set.runs.weights.map(run => Math.round(at.x(run[j]))))].filter(x => x <= f.right);
  put('path', {class: 'rug', d: ticks.map(x => `M${x},${f.bottom}v5`).join('')});
  put('circle', {class: 'point', cx: at.x(p[j]), cy: at.y(now), r: 6});
  f.svg.addEventListener('click', e => {
    const edge = f.svg.getBoundingClientRect(), x = (e.clientX - edge.left) * f.width / edge.width;
    change(() => weigh(j, last.w * clamp((x - f.left) / (f.right - f.left), 0, 1)));
  });
}

function stretches(points) {   // parts of a curve where runs have been
  const parts = [];
  points.forEach((x, i) => {
    if (!x.seen) return;
    if (i && points[i - 1].seen) parts.at(-1).push(x); else parts.push([x]);
  });
  return parts;
}

// -------------------------------------------------------------------------------------------------------- 7 the search

function fillAsk() {   // the fields of the search, from the state
  $('aim').value = S.aim;
  $('guard-on').checked = S.guard !== null;
  if (S.guard !== null) $('guard').value = S.guard;
  $('near-on').checked = S.near !== null;
  if (S.near !== null) $('near').value = +(100 * S.near).toFixed(4);
}

function readAsk() {   // the state, from the fields; a field that holds no number is put back
  const field = id => {
    const at = $(id), v = at.valueAsNumber;
    if (v >= 0) return v;
    tell('A limit is a number of 0 or more.');
    at.value = at.defaultValue;
    return Number(at.defaultValue);
  };
  S.aim = Number($('aim').value);
  S.guard = $('guard-on').checked ? field('guard') : null;
  S.near = $('near-on').checked ? Math.min(1, field('near') / 100) : null;
  update();
}

function scorer() {   // mixture -> how bad it is: first by how much it breaks the limits, then the loss to be lowered
  const {set, law, aim, guard, near} = S, was = set.targets.map((_, t) => value(set, law, t, set.reference.mixture));
  const asked = aim < 0 ? set.targets.map((_, t) => t) : [aim], unit = t => (aim < 0 ? set.targets[t].scale : 1);
  const wanted = p => sum(asked.map(t => lossOf(t, value(set, law, t, p)) / unit(t))) / asked.length;
  return (p, best = {broken: Infinity, loss: Infinity}) => {   // computes no more than it takes to lose against the best
    const loss = wanted(p);
    let broken = 0;
    if (best.broken <= 1e-9 && loss >= best.loss) return {broken: Infinity, loss};
    if (near !== null) broken += Math.max(0, nearest(set, p).distance - near - 1e-9);
    if (guard !== null)
      for (let t = 0; t < was.length && broken <= best.broken; t++) broken += overGuard(t, value(set, law, t, p), was[t]);
    return {broken, loss};
  };
}

const beats = (a, b) => a.broken < b.broken - 1e-9 || a.broken <= b.broken + 1e-9 && a.loss < b.loss - 1e-9;

function candidate(random) {   // around the reference, from close to far, with the pinned weights as they are
  const {set, p, pins} = S, strength = set.domains.length * Math.exp(Math.log(0.3) + random() * Math.log(100));
  return fitted(set.reference.mixture.map(w => gamma(Math.max(1e-3, w) * strength, random)), p, pins);
}

function fitted(drawn, p, pins) {   // scale what is drawn into what the pinned weights leave
  const kept = sum(p.filter((_, j) => pins.has(j))), all = sum(drawn.filter((_, j) => !pins.has(j)));
  return drawn.map((w, j) => (pins.has(j) ? p[j] : all > 0 ? (1 - kept) * w / all : p[j]));
}

function* neighbours(p, size, random) {   // a domain up or down, from one domain to another, towards the reference or a run
  const free = p.map((_, j) => j).filter(j => !S.pins.has(j));
  for (const j of free) {
    if (p[j] < 1) yield move(p, j, p[j] + size, S.pins, S.set.spare);
    if (p[j] > 0) yield move(p, j, p[j] - size, S.pins, S.set.spare);
  }
  for (let n = 3 * free.length; n > 0; n--) {
    const [i, j] = [0, 0].map(() => free[Math.floor(random() * free.length)]), by = Math.min(size, p[i]);
    if (i === j || by <= 0) continue;
    const q = p.slice();
    q[i] -= by;
    q[j] += by;
    yield q;
  }
  for (const goal of [S.set.reference.mixture, S.set.runs.weights[nearest(S.set, p).run]])
    yield fitted(p.map((w, j) => w + size * (goal[j] - w)), p, S.pins);
}

const STARTS = 3;   // candidates to climb from, besides the reference
let searches = 0;

async function search(count = 1500, seed = 0) {
  const {set, p, pins} = S, me = S.busy = ++searches, score = scorer(), random = randoms(seed);
  const scored = (q, best) => ({p: q, ...score(q, best)}), first = scored(p.slice());
  const progress = (what, best) => { $('found').textContent = `${what}: ${number(aimValue(best.loss))}`; };
  const going = () => S.busy === me && !S.enough;
  let rest = performance.now();
  const breathe = async () => {   // let the page answer
    if (performance.now() - rest < 14) return;
    await new Promise(done => setTimeout(done));
    rest = performance.now();
  };
  S.enough = false;
  $('go').textContent = 'Stop';
  remember();

  const from = set.reference.mixture, towards = s => set.runs.weights.map(run => from.map((w, j) => w + s * (run[j] - w)));
  const tries = [from, ...[1, 0.5, 0.2].flatMap(towards)].map(w => fitted(w, p, pins));
  const top = [first], cloud = [];
  for (let n = 0; n < tries.length + count && going(); n++) {
    const found = scored(tries[n] || candidate(random), top[STARTS - 1]);
    cloud.push(found.loss);
    if (top.length < STARTS || beats(found, top.at(-1))) {
      const place = top.findIndex(x => beats(found, x));
      top.splice(place < 0 ? top.length : place, 0, found);
      top.length = Math.min(top.length, STARTS);
    }
    if (n % 50 === 0) progress(`${n} candidates`, top[0]);
    await breathe();
  }

  const climb = async start => {   // the first better neighbour, again and again, by smaller and smaller steps
    const path = [start];
    for (let size = 0.08, better; size > 0.0006 && going(); size = better ? size : size / 2) {
      better = false;
      for (const q of neighbours(path.at(-1).p, size, random)) {
        const found = scored(q, path.at(-1));
        better = beats(found, path.at(-1));
        if (better) { path.push(found); progress(`step ${path.length - 1}`, found); break; }
        await breathe();
        if (!going()) break;
      }
    }
    return path;
  };
  let path = [top[0]];
  for (const start of [...top, scored(tries[0])]) {
    const found = await climb(start);
    if (beats(found.at(-1), path.at(-1))) path = found;
  }
  if (S.busy !== me) return;   // another mixture was chosen meanwhile
  S.busy = 0;
  $('go').textContent = 'Search';
  finishSearch(path[0] === first ? path : [first, ...path], cloud);
}

const aimValue = v => (S.aim >= 0 && S.set.targets[S.aim].higher ? -v : v);   // the objective as it is measured

function finishSearch(path, cloud) {
  S.path = {path, cloud};
  $('step').max = path.length - 1;
  $('path').hidden = false;
  stepTo(path.length - 1);
  const first = path[0], last = path.at(-1), aim = S.aim < 0 ? 'Average' : S.set.targets[S.aim].title;
  const tried = `${plural(cloud.length, 'candidate')}, then ${plural(Math.max(0, path.length - 2), 'small step')}.`;
  const told = last.broken > 1e-9
    ? 'No mixture that was tried keeps all the limits. Shown is the one that breaks them least. Widen a limit or free a pin.'
    : path.length === 1 ? 'Nothing better than this mixture was found.'
    : `${aim}: ${number(aimValue(first.loss))} before, ${number(aimValue(last.loss))} now.`;
  $('found').textContent = `${told} ${tried} Undo brings the old mixture back.`;
}

function stepTo(k) {   // walk along the path
  const {path} = S.path;
  S.p = path[k].p.slice();
  $('step').value = k;
  $('step-n').textContent = `${k} of ${path.length - 1}`;
  update();
  drawPath(k);
}

function drawPath(k) {
  const {path, cloud} = S.path, kept = path.filter(x => x.broken <= 1e-9), shown = kept.length ? kept : path;
  const usual = cloud.slice().sort((a, b) => a - b)[Math.floor(cloud.length / 2)] ?? shown[0].loss;   // half are worse
  const losses = [...shown.map(x => x.loss), usual], high = Math.max(...losses);
  const label = `The search: ${number(aimValue(path[0].loss))} at first, ${number(aimValue(path.at(-1).loss))} at the end, `
    + `in ${path.length - 1} steps`;
  const f = frame($('path').querySelector('.chart'), 170, label);
  const at = scales(f, [0, Math.max(1, path.length - 1)], [Math.min(...losses), high].map(aimValue).sort((a, b) => a - b));
  axes(f, at, [0, path.length - 1], n => (n ? `step ${n}` : 'now'));
  cloud.forEach((loss, n) => {   // between now and the first step; the worse half is not drawn
    if (n % Math.ceil(cloud.length / 800) === 0 && loss <= high)
      f.svg.append(draw('circle', {class: 'cloud', cx: at.x(n / cloud.length), cy: at.y(aimValue(loss)), r: 1.6}));
  });
  const line = path.map((x, n) => [at.x(n), at.y(aimValue(x.loss))]).filter((_, n) => shown.includes(path[n]));
  f.svg.append(draw('path', {class: 'line', d: polyline(line)}));
  const height = clamp(at.y(aimValue(path[k].loss)), f.top, f.bottom);
  f.svg.append(draw('circle', {class: 'point', cx: at.x(k), cy: height, r: 6}));
}

function toggleSearch() {
  if (S.busy) { S.enough = true; return; }   // the loop sees it, and ends with what it has
  tell('');
  readAsk();
  search();
}

// ----------------------------------------------------------------------------------------------- 8 keys, and the start

async function copyLink() {
  const address = location.href.replace(/#.*/, '') + link();
  history.replaceState(null, '', link());
  const holds = 'it holds the mixture, the pins, the law and the limits.';
  try { await navigator.clipboard.writeText(address); tell(`The link is copied: ${holds}`); }
  catch { tell(`Copy the address of this page: ${holds}`); }
}

function nextPreset(by) {
  const all = S.set.presets, at = all.findIndex(x => x.mixture.every((w, j) => w === S.p[j]));
  usePreset(all[at < 0 ? (by > 0 ? 0 : all.length - 1) : (at + by + all.length) % all.length]);
}

function pickLaw(k) {
  const law = S.set.laws[k];
  if (law && law !== S.law) change(() => show(S.set, law, S.p));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !$('keys-on').checked) return;
  if (event.target.matches('input[type=number], select, textarea')) return;   // there a letter is a letter
  const row = event.target.closest?.('[data-domain]'), j = row ? Number(row.dataset.domain) : -1;
  const keys = {
    p: () => j >= 0 && pin(j), z: () => j >= 0 && change(() => weigh(j, 0)), u: undo, s: toggleSearch, l: copyLink,
    '[': () => nextPreset(-1), ']': () => nextPreset(1),
    '?': () => { $('help').scrollIntoView(); $('keys-on').focus(); },
    1: () => pickLaw(0), 2: () => pickLaw(1), 3: () => pickLaw(2), 4: () => pickLaw(3),
  };
  const work = keys[event.key.toLowerCase()];
  if (!work) return;
  event.preventDefault();
  work();
}

function start() {
  if (!book.sets?.length) { $('about').textContent = 'This page holds no runs: write it with write_explorer.'; return; }
  document.title = $('title').textContent = book.title;
  $('made').textContent = book.made;
  book.sets.forEach(prepare);
  $('undo').addEventListener('click', undo);
  $('unpin').addEventListener('click', () => { remember(); S.pins.clear(); update(); });
  $('link').addEventListener('click', copyLink);
  $('print').addEventListener('click', () => window.print());
  $('ask').addEventListener('submit', e => { e.preventDefault(); toggleSearch(); });
  $('ask').addEventListener('change', readAsk);
  $('step').addEventListener('input', () => stepTo($('step').valueAsNumber));
  $('map').querySelector('table').addEventListener('keydown', steerMap);
  document.addEventListener('keydown', onKey);
  window.addEventListener('hashchange', () => { if (location.hash !== written) follow(location.hash); });
  window.addEventListener('resize', later(() => { drawCurve(); if (S.path) drawPath($('step').valueAsNumber); }, 150));
  return follow(location.hash);
}

window.explorer = {   // for the console, and for the tests
  state: S, book, times, predict: p => predict(S.set, S.law, p), nearest: p => nearest(S.set, p), move, search, link,
  ready: start(),
};
