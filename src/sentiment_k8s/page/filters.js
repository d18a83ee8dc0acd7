// Which rows of the log are shown: the form's fields as parameters of GET /predictions.

import { byId, el } from "./dom.js";
import { isShare, modelLabels } from "./labels.js";

const FORM = "filters";

/** Wire the form; `onChange()` is called when another choice was made. */
export function startFilters(onChange) {
  const form = byId(FORM);
  let before = "";
  const changed = () => {
    const now = JSON.stringify(filters());
    byId("filters-clear").hidden = now === "{}";
    if (now !== before) onChange();
    before = now;
  };
  form.addEventListener("change", changed);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    changed();
  });
  byId("filters-clear").addEventListener("click", () => {
    form.reset();
    changed();
    byId("filter-text").focus(); // the button goes away
  });
}

/** The parameters that the filled fields make. */
export function filters() {
  const entries = [...new FormData(byId(FORM))].map(([name, value]) => [name, value.trim()]);
  return Object.fromEntries(
    entries.filter(([, value]) => value !== "").map(([name, value]) => [name, sent(name, value)]),
  );
}

/** Scores are read as per cent where they are shown so, times in the browser's own zone. */
function sent(name, value) {
  if (name.endsWith("_score")) return isShare() ? Number(value) / 100 : Number(value);
  if (name === "since" || name === "until") return new Date(value).toISOString();
  return value;
}

/** Offer labels: the model's, and those that earlier ones have left in the log. */
export function offerLabels(logged) {
  add("label-filter", [...modelLabels(), ...logged], (label) => ({ value: label, text: label }));
  byId("score-unit").textContent = isShare() ? "Score, %" : "Score";
}

/** Offer models as they are seen. */
export const offerModels = (models) => add("models", models, (model) => ({ value: model }));

function add(id, values, attributesOf) {
  const choice = byId(id);
  const known = new Set([...choice.options].map(({ value }) => value));
  const missing = [...new Set(values)].filter((value) => value && !known.has(value));
  choice.append(...missing.map((value) => el("option", attributesOf(value))));
}
