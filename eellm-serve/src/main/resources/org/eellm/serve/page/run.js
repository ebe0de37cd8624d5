// A run: a text with the settings that it is written with, and what every head says of it.

import { postJson, stream } from './api.js';
import { headsOf, plural } from './decide.js';
import { earlyExit, pathOf, promptOf, requestBody, samplingWords, serverWords, sideWords } from './settings.js';

/** A run of a side that has not begun. */
export function newRun(model, name, settings, seed) {
  const side = settings[name];
  return {
    model: model.id,
    layers: model.early_exit.layers,
    heads: headsOf(model.early_exit.exits),
    settings,
    side,
    seed,
    title: `${name === 'a' ? 'Left' : 'Right'}: ${sideWords(side)}${side.mode === 'server' ? `: ${serverWords(model.early_exit.defaults)}` : ''}`,
    made: `${samplingWords(settings, seed)}; at most ${plural(settings.tokens, 'token')}`,
    tokens: [],
    first: null,
    seconds: 0,
    finish: null,
    speeds: null,
    lens: null,
  };
}

/** Streams a run's text into a pane. */
export async function writeText(run, pane, signal) {
  pane.begin(run);
  const body = {
    ...requestBody(run.settings, run.model, run.seed),
    early_exit: { ...earlyExit(run.side), per_token: true },
  };
  const began = performance.now();
  let drawn = 0;
  for await (const part of stream(pathOf(run.settings), body, signal)) {
    const choice = part.choices[0];
    const piece = choice?.text ?? choice?.delta?.content ?? '';
    const [token] = choice?.early_exit ?? [];
    if (token) {
      const entry = { ...token, piece, at: 1000 * token.seconds };
      run.first ??= entry.at / 1000;
      run.tokens.push(entry);
      pane.add(run, entry);
    } else if (piece) {
      run.rest = (run.rest ?? '') + piece;
      pane.text.append(piece);
    }
    if (choice?.drafts) {
      pane.draft(run, choice.drafts);
    }
    run.finish = choice?.finish_reason ?? run.finish;
    run.seconds = (performance.now() - began) / 1000;
    if (performance.now() - drawn > 50) {
      pane.figures(run);
      drawn = performance.now();
    }
    if (part.metrics) {
      run.seconds = part.metrics.seconds;
      run.first = part.metrics.first_token_seconds;
      run.drafted = part.metrics.early_exit.drafted_tokens;
      run.confirmed = part.metrics.early_exit.confirmed_tokens;
    }
  }
  pane.figures(run);
}

/** What every head says of a run's text. */
export async function ask(run, signal) {
  if (run.tokens.length) {
    run.lens = await postJson('v1/lens', {
      model: run.model,
      ...promptOf(run.settings),
      continuation: run.tokens.map(token => token.id),
    }, signal);
    run.tokens.forEach((token, i) => {
      const place = run.heads.indexOf(token.head);
      token.logprob = run.lens.tokens[i].heads[place].logprob;
    });
  }
}
