// All that the filters show, as a file.

import { downloadPredictions } from "./api.js";
import { byId, saveFile, say } from "./dom.js";
import { filters } from "./filters.js";
import { formatBytes } from "./format.js";

const TYPES = { csv: "text/csv", ndjson: "application/x-ndjson" };

let running = null; // the AbortController of the download going on

/** Wire the buttons. */
export function startDownload() {
  for (const ending of Object.keys(TYPES)) {
    byId(`download-${ending}`).addEventListener("click", () => download(ending));
  }
  byId("download-cancel").addEventListener("click", () => running?.abort());
}

async function download(ending) {
  const status = byId("download-status");
  const button = byId(`download-${ending}`);
  running = new AbortController();
  setBusy(true, button);
  say(status, "Downloading.");
  try {
    const file = await downloadPredictions(TYPES[ending], filters(), {
      signal: running.signal,
      onBytes: (bytes) => {
        byId("download-bytes").textContent = formatBytes(bytes);
      },
    });
    saveFile(file, `predictions.${ending}`);
    say(status, `Downloaded ${formatBytes(file.size)}.`);
  } catch (error) {
    if (running.signal.aborted) say(status, "Cancelled.");
    else say(status, error.message, "error");
  } finally {
    setBusy(false, button);
    running = null;
  }
}

function setBusy(busy, button) {
  const cancel = byId("download-cancel");
  const hadFocus = [button, cancel].includes(document.activeElement);
  for (const ending of Object.keys(TYPES)) byId(`download-${ending}`).disabled = busy;
  byId("download-progress").hidden = !busy;
  byId("download-bytes").textContent = "";
  if (hadFocus) (busy ? cancel : button).focus({ preventScroll: true });
}
