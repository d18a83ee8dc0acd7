// The frame that charts stand in: slots side by side over a scale, in SVG, in real pixels so that
// its words stay legible. What is in a slot is the chart's own.

import { svg } from "./dom.js";

const HEIGHT = 190;
const TOP = 10;
const RIGHT = 10;
const BOTTOM = 24;
const CAPTION_ROOM = 64; // px that a caption below the axis needs

/**
 * Fill `host` with a chart and return nothing.
 *
 * `sentence`: what it shows, for those who cannot see it. `ticks`: the scale's steps, upwards.
 * `format(tick)`: their words. `captions`: `{ at, text }` below the slots, `at` in slots.
 * `draw(index, { xOf, yOf, slot })`: the SVG elements of a slot; `xOf` takes slots, `slot` is the
 * width of one in px. `onPoint(index)`: the pointer is on a slot, or on none (null).
 */
export function plot(host, { sentence, slots, ticks, format, captions, draw, onPoint }) {
  const width = Math.max(240, host.clientWidth);
  const words = ticks.map((tick) => format(tick));
  const left = 10 + 8 * Math.max(...words.map((word) => word.length));
  const right = width - RIGHT;
  const slot = (right - left) / slots;
  const [low, high] = [ticks[0], ticks.at(-1)];
  const yOf = (value) => TOP + ((HEIGHT - TOP - BOTTOM) * (high - value)) / (high - low);
  const xOf = (at) => left + at * slot;
  const column = (index) => {
    const group = svg("g", { class: "slot" });
    // The whole slot answers to the pointer: a bar of one prediction is too small to hit.
    group.append(
      svg("rect", { x: xOf(index), y: TOP, width: slot, height: HEIGHT - TOP - BOTTOM, rx: 3 }),
      ...draw(index, { xOf, yOf, slot }),
    );
    group.addEventListener("pointerenter", () => onPoint(index));
    group.addEventListener("pointerleave", () => onPoint(null));
    return group;
  };
  const chart = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT });
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", sentence);
  chart.append(
    ...ticks.flatMap((tick, index) => gridLine(words[index], yOf(tick), left, right)),
    ...Array.from({ length: slots }, (_, index) => column(index)),
    svg("line", { class: "axis", x1: left, x2: right, y1: yOf(low), y2: yOf(low) }),
    ...wordsBelow(captions, xOf, width),
  );
  host.replaceChildren(chart);
  onPoint(null);
}

/** A rectangle whose upper corners are round. */
export function block({ x, y, width, height }, radius, className) {
  const r = Math.min(radius, width / 2, height);
  const d =
    `M${x} ${y + height}V${y + r}q0 ${-r} ${r} ${-r}h${width - 2 * r}` +
    `q${r} 0 ${r} ${r}V${y + height}z`;
  return svg("path", { class: className, d });
}

/** Two to five round steps from `low` or below to `high` or above; `least` is the smallest step. */
export function ticksFor(low, high, least) {
  const rough = Math.max(least, (high - low) / 3);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10]
    .map((factor) => factor * power)
    .find((size) => size >= rough * 0.999 && (least < 1 || Number.isInteger(size)));
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

function gridLine(text, y, left, right) {
  return [
    svg("line", { class: "grid", x1: left, x2: right, y1: y, y2: y }),
    svg("text", { x: left - 8, y: y + 4, "text-anchor": "end", text }),
  ];
}

function wordsBelow(captions, xOf, width) {
  let free = 0;
  return captions.flatMap(({ at, text }) => {
    const x = xOf(at);
    if (x < free || x + CAPTION_ROOM / 3 > width) return [];
    free = x + CAPTION_ROOM;
    return [svg("text", { x, y: HEIGHT - 6, "text-anchor": "middle", text })];
  });
}
