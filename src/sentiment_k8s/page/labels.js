// The labels and their colours.

import { el } from "./dom.js";
import { formatCount, formatScore } from "./format.js";

/** As many colours as page.css has; more cannot be told apart. */
export const TONES = 8;
const DENSE = 6; // more bars than this stand in one line with their labels
const GREY = "tone-neutral";
const NAMED = [
  [/^pos/i, "tone-0"],
  [/^neg/i, "tone-negative"],
  [/^neutral/i, GREY],
];

/** The name under which a chart gathers the labels it has no colour for. */
export const OTHERS = "Other labels";

const tones = new Map(); // label -> CSS class
let ofModel = [];

/** Take over the labels of the model, in its own order. */
export function setLabels(labels) {
  if (labels.join("\n") === ofModel.join("\n")) return;
  ofModel = labels;
  paint(labels);
}

/** The model's labels. */
export const modelLabels = () => ofModel;

/** Give colours to the first of these labels; those that have one keep it. */
export function paint(labels) {
  const painted = [...new Set([...labels, ...ofModel])].slice(0, TONES);
  for (const label of tones.keys()) if (!painted.includes(label)) tones.delete(label);
  const claim = (label, tone) => {
    if (tone && !tones.has(label) && ![...tones.values()].includes(tone)) tones.set(label, tone);
  };
  for (const label of painted) claim(label, NAMED.find(([pattern]) => pattern.test(label))?.[1]);
  const spare = Array.from({ length: TONES }, (_, index) => `tone-${index}`);
  for (const label of painted) spare.forEach((tone) => claim(label, tone));
}

/** The CSS class with a label's colour, the same in every part of the page; grey without one. */
export const toneOf = (label) => tones.get(label) ?? GREY;

/** Whether scores are shares of one; the one output of a regression head is not. */
export const isShare = () => ofModel.length !== 1;

/** A score as the page shows it. */
export const scoreText = (score) => formatScore(score, isShare());

/** A label with its colour beside it (never its colour alone). */
export function tag(label) {
  const swatch = el("span", { class: `swatch ${toneOf(label)}` });
  return el("span", { class: "tag" }, swatch, el("bdi", { text: label }));
}

/** A list item: the label, its score and a bar as long as the score. */
function bar({ label, score }, longest) {
  const fill = el("span", { class: `fill ${toneOf(label)}` });
  // By CSSOM: a style attribute would need 'unsafe-inline' in the Content-Security-Policy.
  fill.style.inlineSize = `${Math.min(100, (Math.abs(score) / longest) * 100)}%`;
  const name = el("bdi", { class: "bar-label", text: label });
  const value = el("span", { class: "bar-score number", text: scoreText(score) });
  return el("li", {}, name, value, el("span", { class: "track", "aria-hidden": "true" }, fill));
}

/** Fill a list with bars; scores outside 0 to 1 (regression) are drawn relative to the largest. */
export function fillBars(list, scores) {
  const longest = Math.max(1, ...scores.map(({ score }) => Math.abs(score)));
  list.classList.toggle("dense", scores.length > DENSE);
  list.replaceChildren(...scores.map((score) => bar(score, longest)));
}

/** Legend items for counts by label, each with its share. */
export function legend(entries) {
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  return entries.map(([label, count]) => {
    const number = el("span", { class: "number", text: formatCount(count) });
    const share = `${Math.round((count / total) * 100)}%`;
    return el("li", {}, tag(label), number, el("span", { class: "hint number", text: share }));
  });
}

/** Counts by label in the model's order, labels that it does not have after them, by name. */
export function inOrder(counts) {
  const known = ofModel.filter((label) => Object.hasOwn(counts, label));
  const others = Object.keys(counts)
    .filter((label) => !ofModel.includes(label))
    .sort();
  return [...known, ...others].map((label) => [label, counts[label]]);
}
