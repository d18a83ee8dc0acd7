// Saying which label is right, for a logged prediction.

import { giveFeedback } from "./api.js";
import { el, say } from "./dom.js";
import { formatFull } from "./format.js";

/**
 * A form for the prediction `{ id, prediction, feedback }` of a model with these `labels`.
 * `onKept(feedback)` is called with what the server keeps.
 */
export function feedbackForm({ id, prediction, feedback }, labels, onKept = () => {}) {
  const options = labels.map((label) => el("option", { value: label, text: label }));
  const choice = el("select", {}, ...options);
  const comment = el("input", { class: "field", autocomplete: "off", maxlength: 4096 });
  const status = el("p", { class: "hint", role: "status" });
  const form = el(
    "form",
    { class: "feedback" },
    el("label", { text: "Right label" }, choice),
    el("label", { class: "comment", text: "Comment, if you like" }, comment),
    el("button", { type: "submit", text: "Save" }),
    status,
  );
  const show = (kept) => {
    choice.value = kept.label;
    comment.value = kept.comment ?? "";
    say(status, sentence(kept, prediction));
  };
  choice.value = prediction;
  if (feedback) show(feedback);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const kept = await giveFeedback(id, choice.value, comment.value.trim());
      show(kept);
      onKept(kept);
    } catch (error) {
      say(status, error.message, "error");
    }
  });
  return form;
}

/** What people have said of a row's prediction, in few words; nothing if they have not. */
export function verdict({ prediction, feedback }) {
  if (!feedback) return "";
  return feedback.label === prediction ? "confirmed" : `corrected to ${feedback.label}`;
}

function sentence({ label, given_at }, prediction) {
  const words = label === prediction ? `${label} is right` : `${label} is right, not ${prediction}`;
  return `Kept: ${words}${given_at ? ` (${formatFull(new Date(given_at))})` : ""}.`;
}
