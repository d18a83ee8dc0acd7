// The page's beginning: asks the server what it is, then starts the parts.
//
//   one.js     one text, its labels as bars
//   many.js    many texts, a table        source.js  lines or a file     csv.js  chunks.js
//   log.js     when the log is read       latest.js  its newest rows     chart.js  counts by time
//   api.js     the service                labels.js  names and colours   dom.js  format.js

import { getHealth } from "./api.js";
import { byId } from "./dom.js";
import { plural } from "./format.js";
import { setLabels } from "./labels.js";
import { refresh, setRecording, startLog } from "./log.js";
import { startMany } from "./many.js";
import { startOne } from "./one.js";

const HEALTH_POLL = 15_000; // ms
const HEALTH_SOON = 2_000; // while the server starts or is away
const STORES = {
  postgresql: "Recorded in PostgreSQL",
  embedded: "Recorded in embedded PostgreSQL",
  off: "Nothing is recorded",
};

async function watchHealth() {
  let wait = HEALTH_SOON;
  try {
    const health = await getHealth();
    show(health);
    if (health.ready) wait = HEALTH_POLL;
  } catch (error) {
    state("down", error.message);
  }
  setTimeout(watchHealth, wait);
}

function show({ ready, model, record, version }) {
  if (model?.labels) setLabels(model.labels);
  fact(
    "fact-model",
    model?.id &&
      [`Model ${model.id}`, model.precision, plural(model.labels.length, "label")].join(" · "),
  );
  fact(
    "fact-record",
    record.mode === "off" || record.available
      ? STORES[record.mode]
      : "The log cannot be written now",
  );
  state(ready ? "up" : "waiting", ready ? "Ready" : "The model is loading");
  byId("version").textContent = `Version ${version}`;
  setRecording(record.mode !== "off");
}

function fact(id, text) {
  byId(id).hidden = !text;
  byId(id).textContent = text ?? "";
}

function state(name, words) {
  const fact = byId("fact-state");
  fact.className = name;
  fact.lastElementChild.textContent = words;
}

startLog();
startOne(refresh);
startMany(refresh);
watchHealth();
