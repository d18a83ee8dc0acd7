// How often the model was right, where people said what is right, and whether its scores say so: a
// reliability diagram, https://en.wikipedia.org/wiki/Probabilistic_classification.

import { sumOf } from "./buckets.js";
import { byId, fillTable, svg } from "./dom.js";
import { formatCount, formatShare, formatTick, plural } from "./format.js";
import { plot } from "./plot.js";

const TICKS = [0, 0.25, 0.5, 0.75, 1];
const RADII = [3, 10]; // px, of a point for the fewest and for the most predictions

/** The tab's figure. */
export const headline = ({ feedback }) =>
  feedback.accuracy === null ? "–" : formatShare(feedback.accuracy);

/** Draw the answer of GET /stats. */
export function draw({ feedback }) {
  const { count, bins } = feedback;
  byId("quality-none").hidden = count > 0;
  byId("quality-some").hidden = count === 0;
  if (count === 0) return;
  const filled = bins.filter((bin) => bin.count > 0);
  byId("quality-words").textContent = inWords(feedback);
  const most = Math.max(...bins.map((bin) => bin.count));
  plot(byId("quality-chart"), {
    sentence:
      "A reliability diagram: how often predictions are right, by their score. " +
      `${filled.map(wordsOf).join("; ")}.`,
    slots: bins.length,
    ticks: TICKS,
    format: formatTick,
    captions: bins.map((bin, index) => ({ at: index, text: formatTick(bin.from) })),
    draw: (index, frame) => point(bins, index, most, frame),
    onPoint: (index) => {
      byId("quality-readout").textContent = index === null ? "" : wordsOf(bins[index]);
    },
  });
  fillTable(
    "quality-table",
    ["Score", "Predictions", "Mean score", "Right"],
    bins.map((bin) => [
      rangeOf(bin),
      formatCount(bin.count),
      bin.count ? formatShare(bin.mean_score) : "",
      bin.count ? formatShare(bin.accuracy) : "",
    ]),
  );
}

function inWords({ count, accuracy, calibration_error: error, bins }) {
  const judged = `${plural(count, "prediction")} with feedback`;
  const right = `${formatShare(accuracy)} of ${judged} are right`;
  if (error === null) return `${right}.`; // they have no scores
  const scores = sumOf(bins.map((bin) => bin.count * bin.mean_score));
  const mean = scores / sumOf(bins.map((bin) => bin.count));
  return (
    `${right}; their scores say ${formatShare(mean)}. The calibration error is ` +
    `${formatShare(error)}: how far, on average, a score is from how often such predictions are ` +
    "right."
  );
}

const rangeOf = ({ from, to }) => `${formatTick(from)} to ${formatTick(to)}`;

function wordsOf(bin) {
  const before = `Score ${rangeOf(bin)}: `;
  if (bin.count === 0) return `${before}none`;
  const right = `${formatShare(bin.accuracy)} of ${formatCount(bin.count)} right`;
  return `${before}${right}, mean score ${formatShare(bin.mean_score)}`;
}

/** A slot's part of the diagonal, and its point with its distance from the diagonal. */
function point(bins, index, most, { xOf, yOf }) {
  const { from, to, count, mean_score, accuracy } = bins[index];
  const ends = { x1: xOf(index), y1: yOf(from), x2: xOf(index + 1), y2: yOf(to) };
  const diagonal = svg("line", { class: "ideal", ...ends });
  if (count === 0) return [diagonal];
  const x = xOf(index + (mean_score - from) / (to - from));
  const [least, largest] = RADII;
  const r = least + (largest - least) * Math.sqrt(count / most);
  const off = { x1: x, y1: yOf(mean_score), x2: x, y2: yOf(accuracy) };
  return [
    diagonal,
    svg("line", { class: "off-ideal", ...off }),
    svg("circle", { class: "measured", cx: x, cy: yOf(accuracy), r }),
  ];
}
