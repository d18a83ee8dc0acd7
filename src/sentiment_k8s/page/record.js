// Where answers are kept, as /health says, and what is wrong with it in a sentence.

import { byId, say } from "./dom.js";
import { plural } from "./format.js";

const STORES = {
  postgresql: "Recorded in PostgreSQL",
  embedded: "Recorded in embedded PostgreSQL",
  off: "Nothing is recorded",
};

/** Show `record` of /health. */
export function showRecord(record) {
  const { mode, spool } = record;
  const isAway = isAwayIn(record);
  byId("fact-record").hidden = false;
  byId("fact-record").textContent = !isAway
    ? STORES[mode]
    : spool?.writable
      ? "Recorded on this server’s disk"
      : "The log cannot be written now";
  say(byId("record-notice"), noticeOf(record), isAway ? "warning" : "");
}

/** Whether the state will soon be another, so that it is worth asking often. */
export const isPassing = (record) => isAwayIn(record) || record.spool?.rows > 0;

/** What is out of the ordinary, in sentences; nothing if all is well. */
export function noticeOf(record) {
  const { spool } = record;
  const state = isAwayIn(record) ? away(spool) : spool?.rows > 0 ? back(spool) : "";
  return [state, damage(spool)].filter(Boolean).join(" ");
}

const isAwayIn = ({ mode, available }) => mode !== "off" && !available;

const back = (spool) =>
  `PostgreSQL is back: ${answers(spool)} on this server’s disk go into it now.`;

function away(spool) {
  if (!spool) return "PostgreSQL is away: no text is answered until it is back.";
  const kept = `${answers(spool)} ${spool.rows === 1 ? "is" : "are"} kept on this server’s disk`;
  if (!spool.writable) {
    return `PostgreSQL is away and the spool cannot be written: no text is answered. ${kept}.`;
  }
  return `PostgreSQL is away; ${kept} until it is back${room(spool)}.`;
}

/** Said once it matters: beyond its room the spool takes nothing, and texts are not answered. */
function room({ bytes, max_bytes: most }) {
  const used = Math.round((100 * bytes) / most);
  return used < 50 ? "" : ` (${used}% of the room for them is used)`;
}

const damage = (spool) =>
  spool?.damaged_records > 0
    ? `${plural(spool.damaged_records, "record")} of the spool could not be read: ` +
      "set aside, see the server’s log."
    : "";

const answers = ({ rows }) => plural(rows, "answer");
