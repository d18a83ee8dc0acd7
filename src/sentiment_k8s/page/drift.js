// Whether the answers of the chosen time differ from those of the time before it: each share beside
// its share in the reference, and the population stability index (PSI) of both distributions.

import { byId, el, fillTable, svg } from "./dom.js";
import { formatCount, formatMoment, formatShare, formatTick, plural } from "./format.js";
import { inOrder, isShare, tag, toneOf } from "./labels.js";
import { block, plot, ticksFor } from "./plot.js";

// The bounds that credit scoring has used since the 1990s; they are a custom, not a test.
const LOOK = 0.1;
const CHANGED = 0.25;

// From the best to the worst: what the page says on the tab, and beside the index.
const MEANINGS = [
  ["Stable", "stable"],
  ["Too few", "too few to tell"],
  ["Look", "worth a look"],
  ["Changed", "changed"],
];

const range = ({ from, to }) => `${formatEdge(from)} to ${formatEdge(to)}`;
const formatEdge = (edge) => formatTick(edge, isShare());

/** The tab's figure: the worse of both. */
export function headline({ drift }) {
  if (drift.label_psi === null) return "–";
  const labels = meaningOf(drift.label_psi, drift.labels, drift);
  return MEANINGS[Math.max(labels, meaningOf(drift.score_psi ?? 0, drift.scores, drift))][0];
}

/**
 * Where among MEANINGS an index stands. One that chance could have made, of two samples of the same
 * thing, says nothing: (1 / n + 1 / m) times a chi-square of as many degrees as there are parts
 * less one, here up to about 95 % of it (Yurdakul and Naranjo, "Statistical Properties of the
 * Population Stability Index", 2020).
 */
function meaningOf(psi, parts, { count, reference }) {
  if (psi < LOOK) return 0;
  const degrees = parts.filter((part) => part.share + part.reference_share > 0).length - 1;
  const quantile = degrees + 1.645 * Math.sqrt(2 * degrees);
  if (psi < (1 / count + 1 / reference.count) * quantile) return 1;
  return psi <= CHANGED ? 2 : 3;
}

/** Draw the answer of GET /stats. */
export function draw({ drift }) {
  const { reference, count } = drift;
  const isEmpty = drift.label_psi === null;
  const [since, until] = [reference.since, reference.until].map((time) =>
    formatMoment(new Date(time)),
  );
  byId("drift-words").textContent =
    `${isEmpty ? "Nothing to compare: " : ""}${plural(count, "prediction")} in the time shown, ` +
    `${formatCount(reference.count)} in the reference, ${since} to ${until}.`;
  byId("drift-some").hidden = isEmpty;
  if (isEmpty) return;
  drawLabels(drift);
  const hasScores = drift.score_psi !== null; // rows by hand may have none
  byId("drift-scores").hidden = !hasScores;
  if (hasScores) drawScores(drift);
  const cells = ({ share, reference_share }) => [share, reference_share].map(formatShare);
  fillTable(
    "drift-table",
    ["Label or score", "Share", "In the reference"],
    [
      ...drift.labels.map((row) => [row.label, ...cells(row)]),
      ...drift.scores.map((row) => [range(row), ...cells(row)]),
    ],
  );
}

function drawLabels(drift) {
  const { labels, label_psi } = drift;
  const longest = Math.max(...labels.flatMap((row) => [row.share, row.reference_share]));
  const rows = Object.fromEntries(labels.map((row) => [row.label, row]));
  byId("drift-label-psi").replaceChildren(...verdict(label_psi, labels, drift));
  byId("drift-labels").replaceChildren(
    ...inOrder(rows).map(([label, { share, reference_share }]) => {
      const words = `${formatShare(share)}, before ${formatShare(reference_share)}`;
      return el(
        "li",
        {},
        tag(label),
        el("span", { class: "bar-score number", text: words }),
        bar(share / longest, toneOf(label)),
        bar(reference_share / longest, "tone-reference"),
      );
    }),
  );
}

/** A bar over a part of the room; what it says stands beside it in words. */
function bar(part, tone) {
  const length = { x: 0, y: 0, width: `${Math.max(0.3, part * 100)}%`, height: 8, rx: 2 };
  const filled = svg("rect", { class: tone, ...length });
  return svg("svg", { class: "pair-bar", "aria-hidden": "true", height: 8 }, filled);
}

function drawScores(drift) {
  const { scores, score_psi } = drift;
  const largest = Math.max(...scores.flatMap((row) => [row.share, row.reference_share]));
  const words = (row) =>
    `Score ${range(row)}: ${formatShare(row.share)}, before ${formatShare(row.reference_share)}`;
  byId("drift-score-psi").replaceChildren(...verdict(score_psi, scores, drift));
  plot(byId("drift-chart"), {
    sentence: `A chart of the scores beside the reference. ${scores.map(words).join("; ")}.`,
    slots: scores.length,
    ticks: ticksFor(0, largest, 0.05),
    format: formatTick,
    captions: scores.map(({ from }, index) => ({ at: index, text: formatEdge(from) })),
    draw: (index, frame) => pair(scores[index], index, frame),
    onPoint: (index) => {
      byId("drift-readout").textContent = index === null ? "" : words(scores[index]);
    },
  });
}

function pair({ share, reference_share }, index, { xOf, yOf, slot }) {
  const width = slot * 0.4;
  const column = (value, x, tone) => {
    const height = yOf(0) - yOf(value);
    return block({ x, y: yOf(value), width, height }, 3, tone);
  };
  return [
    column(share, xOf(index) + slot * 0.08, "tone-now"),
    column(reference_share, xOf(index) + slot * 0.52, "tone-reference"),
  ];
}

function verdict(psi, parts, drift) {
  const meaning = meaningOf(psi, parts, drift);
  return [
    el("span", { class: "number", text: `PSI ${psi.toFixed(2)}` }),
    ", ",
    el("strong", { class: `drift-${meaning}`, text: MEANINGS[meaning][1] }),
  ];
}
