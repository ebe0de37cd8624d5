// What the scripts of this folder share.
import {setTimeout as sleep} from "node:timers/promises";

// Waits until a server answers, a minute at most.
export async function awaitServer(url) {
  for (let tries = 0; tries < 240; tries++) {
    const answer = await fetch(`${url}/health`).catch(() => undefined);
    if (answer?.ok) {
      return;
    }
    await sleep(250);
  }
  throw new Error(`${url} does not answer`);
}
