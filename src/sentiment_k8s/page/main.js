// The page's beginning: asks the server what it is, then starts the parts.
//
//   one.js      one text, its labels as bars
//   many.js     many texts, a table       source.js  chunks.js  csv.js
//   log.js      when the log is read      filters.js  download.js  latest.js  feedback.js
//   figures.js  the log as charts         counts.js  means.js  quality.js  drift.js
//                                         over buckets.js  plot.js
//   record.js   where answers are kept
//   api.js      the service               labels.js  dom.js  format.js  poll.js

import { getHealth } from "./api.js";
import { byId } from "./dom.js";
import { plural } from "./format.js";
import { setLabels } from "./labels.js";
import { refresh, setRecord, startLog } from "./log.js";
import { startMany } from "./many.js";
import { startOne } from "./one.js";
import { isPassing, showRecord } from "./record.js";

const HEALTH_POLL = 15_000; // ms
const HEALTH_SOON = 2_000; // while the server, or its PostgreSQL, starts or is away

let timer = 0;

async function watchHealth() {
  let wait = HEALTH_SOON;
  try {
    const health = await getHealth();
    show(health);
    if (health.ready && !isPassing(health.record)) wait = HEALTH_POLL;
  } catch (error) {
    state("down", error.message);
  }
  clearTimeout(timer);
  timer = setTimeout(watchHealth, wait);
}

function show({ ready, model, record, version }) {
  if (model?.labels) setLabels(model.labels);
  byId("fact-model").hidden = !model;
  if (model) {
    const { id, precision, labels } = model;
    const facts = [`Model ${id}`, precision, plural(labels.length, "label")];
    byId("fact-model").textContent = facts.join(" · ");
  }
  showRecord(record);
  state(ready ? "up" : "waiting", ready ? "Ready" : "The model is loading");
  byId("version").textContent = `Version ${version}`;
  setRecord(record);
}

function state(name, words) {
  const fact = byId("fact-state");
  fact.className = name;
  fact.lastElementChild.textContent = words;
}

startLog(watchHealth);
startOne(refresh);
startMany(refresh);
watchHealth();
