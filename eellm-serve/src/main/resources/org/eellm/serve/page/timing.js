// Times settings beside each other, in turns.

import { getText, postJson } from './api.js';
import { FEWEST_TURNS, compareTurns, median } from './decide.js';
import { earlyExit, pathOf, requestBody } from './settings.js';

/** Turns of each side: as many, or as few as a time allows. */
export const TURNS = 19;
const TURN_SECONDS = 12;

/** Generates once more without showing it. */
async function turn(run, side, signal) {
  const { metrics, usage: { completion_tokens: tokens } } = await postJson(pathOf(run.settings), {
    ...requestBody(run.settings, run.model, run.seed),
    early_exit: earlyExit(side),
  }, signal);
  return { tokens, perToken: (metrics.seconds - metrics.queued_seconds) / tokens };
}

/** What the server has done since its start, and how long it waited for a processor. */
async function workDone(signal) {
  const figures = await getText('metrics', signal);
  const sum = name => [...figures.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)`, 'gm'))]
    .reduce((total, [, value]) => total + Number(value), 0);
  return {
    tokens: sum('eellm_generated_tokens_total'),
    ran: sum('process_cpu_seconds_total'),
    waited: sum('eellm_cpu_wait_seconds_total'),
  };
}

/**
 * Times two sides in turns, whose order changes each time; both have one that does not count.
 *
 * @param tell is given the turns that count, before each
 */
export async function takeTurns(run, a, b, most, signal, tell) {
  const turns = [];
  const sides = { a, b };
  const began = performance.now();
  let before;
  let tokens = 0;
  for (let i = -1; i < most; i++) {
    tell(turns);
    const seconds = {};
    for (const name of i % 2 ? ['a', 'b'] : ['b', 'a']) {
      const once = await turn(run, sides[name], signal);
      seconds[name] = once.perToken;
      tokens += once.tokens;
    }
    if (i < 0) {
      before = await workDone(signal);
      tokens = 0;
    } else {
      turns.push(seconds);
    }
    if (turns.length >= FEWEST_TURNS && performance.now() - began > 1000 * TURN_SECONDS) {
      break;
    }
  }
  const after = await workDone(signal);
  const [ran, waited] = [after.ran - before.ran, after.waited - before.waited];
  return {
    turns,
    load: { others: after.tokens - before.tokens - tokens, waited: waited > 0 ? waited / (waited + ran) : 0 },
  };
}

export function speeds(turns, name) {
  const each = turns.map(seconds => 1 / seconds[name]);
  const shownAs = value => (value < 10 ? value.toFixed(1) : value.toFixed(0));
  return {
    turns: turns.length,
    median: shownAs(median(each)),
    least: shownAs(Math.min(...each)),
    most: shownAs(Math.max(...each)),
  };
}

/** Both speeds and their ratio while turns are taken, in words. */
export const speedsNow = turns =>
  `${speeds(turns, 'a').median} and ${speeds(turns, 'b').median} tokens/s, ratio ${compareTurns(turns).ratio.toFixed(2)} so far`;
