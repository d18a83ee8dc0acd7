// Counts by label over time: stacked bars in SVG, and the same as a table and as a sentence.

import { byId, el, svg } from "./dom.js";
import { formatClock, formatCount, formatDay, plural } from "./format.js";
import { inOrder, legend, OTHERS, paint, toneOf, TONES } from "./labels.js";

const HEIGHT = 190;
const TOP = 8;
const BOTTOM = 24;
const LABEL_ROOM = 64; // px that a time below the axis needs

let drawn = ""; // what is on the screen, so that a poll that brings nothing new draws nothing
let latest = null;

/** Draw the answer of GET /stats. */
export function drawStats(stats) {
  const signature = JSON.stringify([stats.bucket_seconds, stats.buckets]);
  if (signature === drawn) return;
  drawn = signature;
  latest = folded(stats);
  byId("time-total").textContent = formatCount(total());
  byId("time-words").textContent = total() === 1 ? "prediction" : "predictions";
  byId("time-legend").replaceChildren(...legend(latest.totals));
  fillTable(latest);
  draw();
}

/** Redraw when the room changes: the chart is drawn in real pixels, to keep its words legible. */
export function watchChart() {
  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === width) return;
    width = contentRect.width;
    if (latest) draw();
  }).observe(byId("chart"));
}

/** Buckets as `{ start, end, counts: [number per label] }`, rare labels gathered into one. */
function folded(stats) {
  const all = inOrder(stats.totals);
  const byCount = [...all].sort(([, a], [, b]) => b - a).map(([label]) => label);
  const kept = new Set(byCount.slice(0, all.length > TONES ? TONES - 1 : TONES));
  paint([...kept]);
  const labels = all.map(([label]) => label).filter((label) => kept.has(label));
  const rest = byCount.filter((label) => !kept.has(label));
  const rowOf = (counts) => {
    const row = labels.map((label) => counts[label] ?? 0);
    return rest.length ? [...row, rest.reduce((sum, label) => sum + (counts[label] ?? 0), 0)] : row;
  };
  const names = rest.length ? [...labels, OTHERS] : labels;
  const buckets = stats.buckets.map(({ start, counts }) => {
    const from = new Date(start);
    return {
      start: from,
      end: new Date(from.getTime() + stats.bucket_seconds * 1000),
      counts: rowOf(counts),
    };
  });
  const sums = rowOf(stats.totals);
  return { labels: names, buckets, totals: names.map((name, index) => [name, sums[index]]) };
}

const sumOf = (counts) => counts.reduce((sum, count) => sum + count, 0);
const total = () => sumOf(latest.totals.map(([, count]) => count));

function draw() {
  const { labels, buckets } = latest;
  const host = byId("chart");
  const width = Math.max(240, host.clientWidth);
  const top = Math.max(1, ...buckets.map(({ counts }) => sumOf(counts)));
  const ticks = ticksTo(top);
  const ceiling = ticks.at(-1);
  const left = 10 + 8 * formatCount(ceiling).length;
  const slot = (width - left) / buckets.length;
  const yOf = (count) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - count / ceiling);
  const chart = svg("svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`,
    width,
    height: HEIGHT,
    role: "img",
    "aria-label": sentence(),
  });
  chart.append(
    ...ticks.map((tick) => gridLine(tick, yOf(tick), left, width)),
    ...buckets.map((bucket, index) => column(bucket, left + index * slot, slot, yOf, labels)),
    svg("line", { class: "axis", x1: left, x2: width, y1: yOf(0), y2: yOf(0) }),
    ...timesBelow(buckets, left, slot, width),
  );
  host.replaceChildren(chart);
  readOut(null);
}

/** Two to four round steps from 0 to at least `top`, whole numbers since these are counts. */
function ticksTo(top) {
  const rough = top / 3;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
  const step = [1, 2, 2.5, 5, 10]
    .map((factor) => factor * power)
    .find((size) => size >= rough && Number.isInteger(size));
  return Array.from({ length: Math.ceil(top / step) + 1 }, (_, index) => index * step);
}

function gridLine(tick, y, left, width) {
  return svg(
    "g",
    {},
    svg("line", { class: "grid", x1: left, x2: width, y1: y, y2: y }),
    svg("text", { x: left - 8, y: y + 4, "text-anchor": "end", text: formatCount(tick) }),
  );
}

function column(bucket, x, slot, yOf, labels) {
  const gap = Math.min(6, slot * 0.24);
  const group = svg("g", { class: "bucket" });
  // The whole slot answers to the pointer: a bar of one prediction is too small to hit.
  group.append(
    svg("rect", { class: "slot", x, y: TOP, width: slot, height: HEIGHT - TOP - BOTTOM, rx: 3 }),
  );
  let below = 0;
  const highest = bucket.counts.findLastIndex((count) => count > 0);
  bucket.counts.forEach((count, index) => {
    if (count === 0) return;
    const [low, high] = [yOf(below), yOf(below + count)];
    below += count;
    const radius = index === highest ? Math.min(3, (slot - gap) / 2, low - high) : 0;
    group.append(
      svg("path", {
        class: toneOf(labels[index]),
        d: block(x + gap / 2, high, slot - gap, low - high, radius),
      }),
    );
  });
  group.addEventListener("pointerenter", () => readOut(bucket));
  group.addEventListener("pointerleave", () => readOut(null));
  return group;
}

/** A rectangle whose upper corners are round. */
function block(x, y, width, height, radius) {
  return (
    `M${x} ${y + height}V${y + radius}q0 ${-radius} ${radius} ${-radius}h${width - 2 * radius}` +
    `q${radius} 0 ${radius} ${radius}V${y + height}z`
  );
}

function timesBelow(buckets, left, slot, width) {
  const days = isByDay(buckets);
  let free = 0;
  let before = "";
  return buckets.flatMap(({ start }, index) => {
    const x = left + (index + 0.5) * slot;
    const words = days ? formatDay(start) : formatClock(start);
    // By days a bucket is named when its day is new, and the first one, which may be cut, is not.
    const isNew = words !== before && !(days && index === 0);
    before = words;
    if (!isNew || x < free || x + LABEL_ROOM / 3 > width) return [];
    free = x + LABEL_ROOM;
    return [svg("text", { x, y: HEIGHT - 6, "text-anchor": "middle", text: words })];
  });
}

const isByDay = (buckets) => buckets.at(-1).end - buckets[0].start > 48 * 3600 * 1000;

function spanOf({ start, end }) {
  const days = isByDay(latest.buckets);
  if (days && end - start >= 86400000) return formatDay(start);
  return `${days ? `${formatDay(start)}, ` : ""}${formatClock(start)} to ${formatClock(end)}`;
}

/** Say what the pointer is on. The table is the same for those who have no pointer. */
function readOut(bucket) {
  const line = byId("time-readout");
  if (bucket !== null) {
    const entries = latest.labels.map((label, index) => [label, bucket.counts[index]]);
    line.textContent = `${spanOf(bucket)}: ${countsIn(entries) || "none"}`;
  } else {
    line.textContent = total() === 0 ? "No prediction in this time." : "";
  }
}

const countsIn = (entries) =>
  entries
    .filter(([, count]) => count > 0)
    .map(([label, count]) => `${label} ${formatCount(count)}`)
    .join(", ");

function sentence() {
  const { totals, buckets } = latest;
  if (total() === 0) return "A chart without bars: no prediction in this time.";
  const busiest = buckets.reduce((most, bucket) =>
    sumOf(bucket.counts) > sumOf(most.counts) ? bucket : most,
  );
  return (
    `A chart of ${plural(total(), "prediction")} by label over time: ${countsIn(totals)}. ` +
    `Most in ${spanOf(busiest)}: ${formatCount(sumOf(busiest.counts))}. ` +
    "The table below has every value."
  );
}

function fillTable({ labels, buckets }) {
  const heading = (text, side = "end") => el("th", { scope: "col", class: side, text });
  byId("time-head").replaceChildren(
    el("tr", {}, heading("Time", ""), ...labels.map((label) => heading(label)), heading("All")),
  );
  const cell = (count) => el("td", { class: "number end", text: formatCount(count) });
  const row = (bucket) => {
    const time = el("th", { scope: "row", text: spanOf(bucket) });
    return el("tr", {}, time, ...[...bucket.counts, sumOf(bucket.counts)].map(cell));
  };
  byId("time-rows").replaceChildren(...buckets.map(row));
}
