// Three pictures to play with: each <div class="play" data-play="NAME"> holds its numbers, and is filled in here.
"use strict";
const play = {};   // name -> what is shown, for whoever wants the numbers
const DRAWS = 300, HEIGHT = Math.sqrt(3) / 2, SHAPES = ["svg", "path", "circle", "text"];

function node(tag, given = {}, ...inside) {
  const made = SHAPES.includes(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(given)) made.setAttribute(name, value);
  made.append(...inside);
  return made;
}
const sum = values => values.reduce((a, b) => a + b, 0), mean = values => sum(values) / values.length;
const percent = w => `${(100 * w).toFixed(1)}%`, nats = (x, sign = "") => `${x > 0 ? sign : x < 0 ? "\u2212" : ""}${Math.abs(x).toFixed(3)}`;
const largest = values => values.indexOf(Math.max(...values));

// A picture is a form, a sentence, and what is drawn. `spoken` says the sentence aloud when the hand rests.
function picture(name, box, title, controls, draw) {
  const form = node("form", {}), said = node("p"), spoken = node("p", { class: "spoken", role: "status" });
  const view = node("div", { class: "view" }), inputs = {};
  let rest;
  form.addEventListener("submit", event => event.preventDefault());
  for (const { key, label, say = String, options, ...given } of controls) {
    const input = options ? node("select", {}, ...options.map(o => new Option(o, o))) : node("input", given);
    const value = node("output"), read = () => options ? input.value : Number(input.value);
    if (given.value !== undefined) input.value = given.value;
    inputs[key] = () => {
      if (given.type === "range") { value.textContent = say(read()); input.setAttribute("aria-valuetext", say(read())); }
      return read();
    };
    input.name = key;
    form.append(node("label", {}, node("span", {}, `${label} `, value), input));
  }
  function show() {
    const values = Object.fromEntries(Object.entries(inputs).map(([key, read]) => [key, read()]));
    const { text, parts, ...shown } = draw(values);
    said.textContent = text;
    view.replaceChildren(...parts);
    play[name] = { values, text, ...shown };
    clearTimeout(rest);
    rest = setTimeout(() => { spoken.textContent = text; }, 500);
  }
  form.addEventListener("input", show);
  box.append(node("strong", {}, title), form, said, view, spoken);
  box.setAttribute("aria-label", title);
  show();
}

// Mixtures of three domains in a triangle: `layers` are [class, mixtures], each mixture a dot.
const at = p => [p[1] + p[2] / 2, (1 - p[2]) * HEIGHT];
function triangle(names, words, layers, ground = []) {
  const corners = [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map(at), [a, b, c] = corners.map(String);
  const label = (name, k) => node("text", { x: corners[k][0], y: corners[k][1] + (k < 2 ? 0.09 : -0.04), "text-anchor": "middle" }, name);
  const dots = ([kind, mixtures]) => node("path", { class: kind, d: mixtures.map(p => `M${at(p)}h0`).join("") });
  const drawn = node("svg", { viewBox: "-0.15 -0.12 1.3 1.1", "aria-hidden": true }, ...ground,
    node("path", { class: "edge", d: `M${a}L${b}L${c}Z` }), ...names.map(label), ...layers.map(dots));
  return node("figure", {}, drawn, node("figcaption", {}, words));
}

// Bars from zero, of a kind; `mark` is a second value, such as the prior.
function bars(title, rows) {
  const all = rows.flatMap(r => [r.value, r.mark ?? 0]), low = Math.min(0, ...all), high = Math.max(0, ...all) || 1;
  const place = value => 100 * (value - low) / (high - low);
  const line = ({ name, value, mark, text, now, kind = "" }) => {
    const [from, to] = [place(Math.min(0, value)), place(Math.max(0, value))];
    const bar = node("i", { class: kind, style: `left:${from}%;width:${to - from}%` });
    const track = node("div", { class: "track" }, bar);
    if (mark !== undefined) track.append(node("b", { style: `left:${place(mark)}%` }));
    return node("tr", now ? { class: "now" } : {}, node("th", { scope: "row" }, name), node("td", {}, track), node("td", {}, text));
  };
  return node("table", {}, node("caption", {}, title), node("tbody", {}, ...rows.map(line)));
}

// Draws. Numbers from 0 to 1 of a seed (mulberry32); the logarithm of a gamma variable (Marsaglia and Tsang, 2000, for a + 1).
function stream(seed) {
  return () => {
    seed = (seed + 0x6D2B79F5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
function logGamma(a, next) {
  if (!(a > 0)) return -Infinity;
  const d = a + 2 / 3, c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()), v = (1 + c * x) ** 3, u = 1 - next();
    if (v > 0 && Math.log(u) < x * x / 2 + d - d * v + d * Math.log(v)) return Math.log(d * v) + Math.log(1 - next()) / a;
  }
}
function dirichlet(alpha, seed, i) {
  const logs = alpha.map((a, j) => logGamma(a, stream(Math.imul(seed * DRAWS + i, 64) + j))), top = Math.max(...logs);
  const weights = logs.map(l => Math.exp(l - top)), total = sum(weights);
  return weights.map(w => w / total);
}
function tempered(tokens, temperature) {
  const most = Math.max(...tokens), flat = tokens.map(t => t > 0 ? (t / most) ** temperature : 0), total = sum(flat);
  return flat.map(t => t / total);
}

const PICTURES = {
  strength: data => [[
    { key: "strength", label: "Strength", type: "range", min: 0, max: 60, value: 26, say: s => (10 ** (s / 20 - 1)).toPrecision(2) },
    { key: "temperature", label: "Temperature of the prior", type: "range", min: 0, max: 1, step: 0.05, value: 1 },
    ...[["web", 60], ["code", 30], ["law", 10]].map(([key, value]) =>
      ({ key, label: `Tokens of ${key}`, type: "range", min: 0, max: 100, value })),
    { key: "seed", label: "Seed", type: "number", min: 0, max: 9999, value: 0 },
  ], values => {
    const names = ["web", "code", "law"], tokens = names.map(n => values[n]), strength = 10 ** (values.strength / 20 - 1);
    if (!sum(tokens)) return { text: "All three have no tokens: give one of them some.", parts: [] };
    const toy = tempered(tokens, values.temperature), prior = tempered(data.prior, values.temperature);
    const spread = toy.map(x => Math.sqrt(x * (1 - x) / (strength + 1)));
    const draws = Array.from({ length: DRAWS }, (_, i) => dirichlet(toy.map(x => strength * x), values.seed, i));
    const one = dirichlet(prior.map(x => strength * x), values.seed, DRAWS), top = mean(draws.map(p => Math.max(...p)));
    const around = names.map((n, k) => `${n} ${percent(toy[k])} \u00b1 ${(100 * spread[k]).toFixed(1)}`).join(", ");
    const text = `Prior and spread of the weights: ${around}. The largest weight of a mixture is ${percent(top)} in the mean of ${DRAWS}. ` +
      `Of the 17 domains, ${one.filter(w => w > 0.01).length} have more than 1% in the mixture drawn.`;
    const words = `${DRAWS} mixtures of web, code and law, each a dot; the large dot is the prior.`;
    return { text, strength, toy, prior, spread, draws, one, top, parts: [
      triangle(names, words, [["draws", draws], ["prior", [toy]]]),
      bars("One mixture of 17 domains (bar), and the prior (line)",
        one.map((value, k) => ({ name: data.domains[k], value, mark: prior[k], text: percent(value) })))] };
  }, "Play: the strength of a Dirichlet draw"],

  proxies: data => [[
    { key: "n", label: "Proxies", type: "range", min: 0, max: data.sizes.length - 1, value: 2, say: i => String(data.sizes[i]) },
    { key: "noise", label: "Noise of a loss, in nats", type: "range", min: 0, max: data.noises.length - 1, value: 2, say: i => String(data.noises[i]) },
    { key: "law", label: "Fitted", options: Object.keys(data.trials) },
  ], ({ n, noise, law }) => {
    const trials = data.trials[law][noise], above = data.above[law][noise].map(mean), proposals = trials[n].map(t => t.slice(1));
    const rhos = trials.map(ts => ts.map(t => t[0]).filter(r => r !== null)), rho = rhos.map(r => r.length ? mean(r) : null);
    const ranks = rho[n] === null ? "predicts the same everywhere, so it ranks nothing and its proposal is the middle" :
      `ranks unseen runs with rho ${rho[n].toFixed(3)} (${Math.min(...rhos[n]).toFixed(3)} to ${Math.max(...rhos[n]).toFixed(3)} in ${rhos[n].length} trials)`;
    const text = `${data.sizes[n]} proxies, noise ${data.noises[noise]}, ${law}: the fit ${ranks}. ` +
      `What is proposed costs ${nats(above[n])} nats more than the best mixture, in the mean.`;
    const losses = data.law.losses, low = Math.min(...losses), high = Math.max(...losses);
    const ground = data.law.points.map((p, k) => node("circle", { class: "ground", cx: at(p)[0], cy: at(p)[1], r: 0.021,
      "fill-opacity": (0.75 * (1 - (losses[k] - low) / (high - low)) ** 2).toFixed(3) }));
    return { text, rho: rho[n], above: above[n], proposals, parts: [
      triangle(["a", "b", "c"], `Strong colour: the known law is low. Large dot: its best mixture. Small dots: ${proposals.length} proposals.`,
        [["best", [data.law.best]], ["draws", proposals]], ground),
      bars("Loss above the best, in nats, by the number of proxies", data.sizes.map((size, k) => ({ name: String(size), value: above[k],
        text: `${nats(above[k])}; rho ${rho[k] === null ? "none" : rho[k].toFixed(3)}`, now: k === n })))] };
  }, "Play: proxies, noise, and what is proposed"],

  guards: data => [[
    { key: "guard", label: "Most that another loss may rise, in nats", type: "range", min: 0, max: data.guards.length - 1, value: 0,
      say: i => data.guards[i] === null ? "no guard" : String(data.guards[i]) },
    { key: "kl", label: "Price of leaving the prior (kl)", type: "range", min: 0, max: data.kls.length - 1, value: 0, say: i => String(data.kls[i]) },
    { key: "cap", label: "Most weight of a domain", type: "range", min: 0, max: data.caps.length - 1, value: 0, say: i => percent(data.caps[i]) },
  ], ({ guard, kl, cap }) => {
    const [mixture, rise, distance] = data.answers[kl][guard][cap], aim = data.targets[data.aim], worst = largest(rise), top = largest(mixture);
    const text = `The predicted loss on ${aim} is ${nats(-rise[data.aim])} nats below that under the prior. ` +
      `${rise[worst] > 5e-4 ? `The largest rise is on ${data.targets[worst]}: ${nats(rise[worst])}` : "No loss rises"}. ` +
      `Most weight: ${data.domains[top]}, ${percent(mixture[top])}. The nearest run is ${percent(distance)} away` +
      (distance > data.usual ? `, further than runs usually lie apart (${percent(data.usual)}): a guess.` : ".");
    return { text, mixture, rise, distance, parts: [
      bars("Proposed weight (bar), and the prior (line)",
        mixture.map((value, k) => ({ name: data.domains[k], value, mark: data.prior[k], text: percent(value) }))),
      bars("Predicted change of each loss, in nats",
        rise.map((value, k) => ({ name: data.targets[k], value, text: nats(value, "+"), now: k === data.aim, kind: value > 0 ? "up" : "" })))] };
  }, "Play: guards, and closeness to the prior"],
};

addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".play")) {
    const [controls, draw, title] = PICTURES[box.dataset.play](JSON.parse(box.querySelector("script").textContent));
    picture(box.dataset.play, box, title, controls, draw);
  }
});
