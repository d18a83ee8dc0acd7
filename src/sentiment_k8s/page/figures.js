// The log in figures: tabs, each with its figure and its chart, over a time of one's choice.

import { getStats } from "./api.js";
import * as counts from "./counts.js";
import { byId, say } from "./dom.js";
import * as drift from "./drift.js";
import * as means from "./means.js";
import { poller } from "./poll.js";
import * as quality from "./quality.js";

const POLL = 10_000; // ms
const CHARTS = { counts, means, quality, drift };
const NAMES = Object.keys(CHARTS);
const NEXT = { ArrowRight: 1, ArrowLeft: -1 };

let latest = null;
let chosen = NAMES[0];
let onStats = () => {};

// A log of millions takes its time to count: looking may cost the database a twentieth of it.
const figures = poller(read, (took) => Math.max(POLL, 20 * took));
export const { now: readFigures, stop: stopFigures } = figures;

/** Wire the tabs and choices; `whenRead(stats)` is called with each new answer of GET /stats. */
export function startFigures(whenRead) {
  onStats = whenRead;
  for (const id of ["hours", "reference"]) byId(id).addEventListener("change", readFigures);
  for (const name of NAMES) {
    byId(`${name}-tab`).addEventListener("click", () => choose(name));
  }
  byId("figures-tabs").addEventListener("keydown", (event) => {
    if (!(event.key in NEXT)) return;
    event.preventDefault();
    const next = NAMES.indexOf(chosen) + NEXT[event.key] + NAMES.length;
    choose(NAMES[next % NAMES.length]);
    byId(`${chosen}-tab`).focus();
  });
  watchWidth();
}

async function read(isStale) {
  const hours = byId("hours");
  const { buckets } = hours.selectedOptions[0].dataset;
  try {
    const stats = await getStats(hours.value, buckets, byId("reference").value);
    if (isStale()) return;
    say(byId("figures-status"), "");
    // A poll that brings nothing new draws nothing: the pointer may be on a bar.
    if (JSON.stringify(stats) === JSON.stringify(latest)) return;
    latest = stats;
    onStats(stats);
    draw();
  } catch (error) {
    // What was read stays readable. Where it may not be read at all, the list closes the log.
    if (!isStale()) say(byId("figures-status"), error.message, "error");
  }
}

function draw() {
  for (const name of NAMES) {
    byId(`${name}-figure`).textContent = CHARTS[name].headline(latest);
  }
  CHARTS[chosen].draw(latest);
}

function choose(name) {
  chosen = name;
  for (const other of NAMES) {
    const isChosen = other === name;
    byId(`${other}-tab`).setAttribute("aria-selected", String(isChosen));
    byId(`${other}-tab`).tabIndex = isChosen ? 0 : -1;
    byId(`${other}-panel`).hidden = !isChosen;
  }
  if (latest) draw();
}

/** Draw anew when the room changes, since charts are drawn in real pixels. */
function watchWidth() {
  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === width) return;
    width = contentRect.width;
    if (latest && width > 0) draw();
  }).observe(byId("figures-tabs"));
}
