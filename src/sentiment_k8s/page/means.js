// The mean score of each label over time: lines, with a gap where nothing was predicted.

import { captionsOf, folded, meanOf, spanOf } from "./buckets.js";
import { byId, el, fillTable, svg } from "./dom.js";
import { formatTick } from "./format.js";
import { isShare, scoreText, tag, toneOf } from "./labels.js";
import { plot, ticksFor } from "./plot.js";

/** The tab's figure. */
export function headline({ totals, mean_scores }) {
  return scoreText(meanOf(Object.keys(totals), totals, mean_scores)) || "–";
}

/** Draw the answer of GET /stats. */
export function draw(stats) {
  const { labels, buckets, means } = folded(stats);
  const known = buckets.flatMap((bucket) => bucket.means).filter((mean) => mean !== null);
  const span = (bucket) => spanOf(bucket, buckets);
  const words = (means) =>
    labels
      .map((label, index) => means[index] !== null && `${label} ${scoreText(means[index])}`)
      .filter(Boolean)
      .join(", ");
  byId("means-legend").replaceChildren(
    ...labels.map((label, index) => {
      const mean = el("span", { class: "number", text: scoreText(means[index]) });
      return el("li", {}, tag(label), mean);
    }),
  );
  plot(byId("means-chart"), {
    sentence: known.length
      ? `A chart of the mean score over time: ${words(means)}. The table below has every value.`
      : "A chart without lines: no prediction in this time.",
    slots: buckets.length,
    ticks: ticksOf(known),
    format: (tick) => formatTick(tick, isShare()),
    captions: captionsOf(buckets),
    draw: (index, frame) => points(buckets, labels, index, frame),
    onPoint: (index) => {
      const bucket = buckets[index];
      const none = known.length ? "" : "No prediction in this time.";
      byId("means-readout").textContent = bucket
        ? `${span(bucket)}: ${words(bucket.means) || "none"}`
        : none;
    },
  });
  fillTable(
    "means-table",
    ["Time", ...labels],
    buckets.map((bucket) => [span(bucket), ...bucket.means.map(scoreText)]),
  );
}

/** A share's scale ends at 1 and begins below the lowest, since most scores are near 1. */
function ticksOf(known) {
  if (!isShare()) return ticksFor(Math.min(...known, 0), Math.max(...known, 1), 0.01);
  return ticksFor(Math.min(0.9, ...known), 1, 0.02);
}

function points(buckets, labels, index, { xOf, yOf }) {
  return labels.flatMap((label, at) => {
    const mean = buckets[index].means[at];
    if (mean === null) return [];
    const [x, y] = [xOf(index + 0.5), yOf(mean)];
    const dot = svg("circle", { class: `dot-of ${toneOf(label)}`, cx: x, cy: y, r: 2.5 });
    const before = buckets[index - 1]?.means[at] ?? null;
    if (before === null) return [dot];
    const line = { x1: xOf(index - 0.5), y1: yOf(before), x2: x, y2: y };
    return [svg("line", { class: `line-of ${toneOf(label)}`, ...line }), dot];
  });
}
