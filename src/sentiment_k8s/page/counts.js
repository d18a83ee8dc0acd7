// Counts by label over time: stacked bars.

import { captionsOf, folded, spanOf, sumOf } from "./buckets.js";
import { byId, fillTable } from "./dom.js";
import { formatCount, plural } from "./format.js";
import { legend, toneOf } from "./labels.js";
import { block, plot, ticksFor } from "./plot.js";

/** The tab's figure. */
export const headline = ({ totals }) => formatCount(sumOf(Object.values(totals)));

/** Draw the answer of GET /stats. */
export function draw(stats) {
  const { labels, buckets, counts } = folded(stats);
  const total = sumOf(counts);
  const entries = (counts) => labels.map((label, index) => [label, counts[index]]);
  const span = (bucket) => spanOf(bucket, buckets);
  byId("counts-legend").replaceChildren(...legend(entries(counts)));
  plot(byId("counts-chart"), {
    sentence: sentence(entries(counts), total, buckets, span),
    slots: buckets.length,
    ticks: ticksFor(0, Math.max(1, ...buckets.map(({ counts }) => sumOf(counts))), 1),
    format: formatCount,
    captions: captionsOf(buckets),
    draw: (index, frame) => bars(buckets[index].counts, labels, index, frame),
    onPoint: (index) => {
      const bucket = buckets[index];
      const none = total === 0 ? "No prediction in this time." : "";
      byId("counts-readout").textContent = bucket
        ? `${span(bucket)}: ${countsIn(entries(bucket.counts)) || "none"}`
        : none;
    },
  });
  fillTable(
    "counts-table",
    ["Time", ...labels, "All"],
    buckets.map((bucket) => [
      span(bucket),
      ...[...bucket.counts, sumOf(bucket.counts)].map(formatCount),
    ]),
  );
}

function bars(counts, labels, index, { xOf, yOf, slot }) {
  const gap = Math.min(6, slot * 0.24);
  const highest = counts.findLastIndex((count) => count > 0);
  let below = 0;
  return counts.flatMap((count, at) => {
    if (count === 0) return [];
    const [low, high] = [yOf(below), yOf(below + count)];
    below += count;
    const place = { x: xOf(index) + gap / 2, y: high, width: slot - gap, height: low - high };
    return [block(place, at === highest ? 3 : 0, toneOf(labels[at]))];
  });
}

const countsIn = (entries) =>
  entries
    .filter(([, count]) => count > 0)
    .map(([label, count]) => `${label} ${formatCount(count)}`)
    .join(", ");

function sentence(entries, total, buckets, span) {
  if (total === 0) return "A chart without bars: no prediction in this time.";
  const busiest = buckets.reduce((most, bucket) =>
    sumOf(bucket.counts) > sumOf(most.counts) ? bucket : most,
  );
  return (
    `A chart of ${plural(total, "prediction")} by label over time: ${countsIn(entries)}. ` +
    `Most in ${span(busiest)}: ${formatCount(sumOf(busiest.counts))}. ` +
    "The table below has every value."
  );
}
