// Reading something again and again.

let isPaused = false;

/** While paused, what is asked for with `now()` is read once. */
export function pausePolls(paused) {
  isPaused = paused;
}

/**
 * Calls `read(isStale)`, never twice at once; after each end it waits `pauseAfter(ms it took)`.
 * `now()` starts it, or has it read anew at once, and then `isStale()` says true of what is still
 * on its way. `stop()` ends it.
 */
export function poller(read, pauseAfter) {
  let isOn = false;
  let isReading = false;
  let again = false;
  let timer = 0;

  async function turn() {
    isReading = true;
    again = false;
    const started = performance.now();
    await read(() => again);
    isReading = false;
    if (!isOn) return;
    if (again) turn();
    else if (!isPaused) timer = setTimeout(turn, pauseAfter(performance.now() - started));
  }

  return {
    now() {
      isOn = true;
      again = true;
      clearTimeout(timer);
      if (!isReading) turn();
    },
    stop() {
      isOn = false;
      again = true;
      clearTimeout(timer);
    },
  };
}
