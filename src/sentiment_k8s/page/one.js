// One text: its labels as bars.

import { predictOne } from "./api.js";
import { byId, el, say } from "./dom.js";
import { feedbackForm } from "./feedback.js";
import { formatSeconds } from "./format.js";
import { fillBars, scoreText, tag } from "./labels.js";

/** Wire the form; `onAnswer()` is called after each answer. */
export function startOne(onAnswer) {
  const form = byId("one-form");
  const text = byId("text");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    classify(text, onAnswer);
  });
  submitByKeys(text, form);
  for (const example of byId("one-tries").querySelectorAll("button")) {
    example.addEventListener("click", () => {
      text.value = example.textContent;
      form.requestSubmit();
    });
  }
}

/** Ctrl + Enter (Cmd + Enter on a Mac) in a text field submits its form. */
export function submitByKeys(field, form) {
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
}

let newest = 0; // an answer that was overtaken by a later question is not shown

async function classify(field, onAnswer) {
  const status = byId("one-status");
  const text = field.value;
  if (text.trim() === "") {
    say(status, "Type a text first.", "error");
    field.focus();
    return;
  }
  const question = (newest += 1);
  const started = performance.now();
  byId("one").setAttribute("aria-busy", "true");
  try {
    const answer = await predictOne(text);
    if (question === newest) show(answer, (performance.now() - started) / 1000);
    onAnswer();
  } catch (error) {
    if (question === newest) refuse(error);
  } finally {
    if (question === newest) byId("one").removeAttribute("aria-busy");
  }
}

function show(answer, seconds) {
  const status = byId("one-status");
  say(status, "", "verdict");
  status.append(
    tag(answer.prediction),
    " ",
    el("span", { class: "number", text: scoreText(answer.score) }),
  );
  byId("one-note").textContent = answer.truncated
    ? "The text is longer than the model takes: only its beginning was read."
    : "";
  fillBars(byId("one-bars"), answer.scores);
  const kept = answer.id ? `recorded as ${answer.id}` : "not recorded";
  byId("one-meta").textContent = `Answered in ${formatSeconds(seconds)}, ${kept}`;
  offerFeedback(answer);
  byId("one-result").hidden = false;
}

function offerFeedback(answer) {
  const labels = answer.scores.map(({ label }) => label);
  byId("one-feedback").replaceChildren(...(answer.id ? [feedbackForm(answer, labels)] : []));
}

function refuse(error) {
  byId("one-result").hidden = true;
  byId("one-note").textContent = "";
  const wait = error.retryAfter ? ` Try again in ${formatSeconds(error.retryAfter)}.` : "";
  say(byId("one-status"), `${error.message}${wait}`, "error");
}
