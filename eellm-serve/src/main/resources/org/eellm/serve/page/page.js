// The page: streams texts with two settings beside each other, asks every exit about them, and
// times both in turns.

import { Refusal, getJson, getText, postJson, savedKey, setKey, stream } from './api.js';
import { FEWEST_TURNS, commonTokens, compareTurns, effective, estimate, headsOf, leavesEarly, loadSentence, median, percent, plural,
  speedSentence, telling, timeAtDepth } from './decide.js';
import { DEFAULTS, arrangeSide, buildSide, earlyExit, fromLink, make, mostThreshold, promptOf, read, requestBody, samplingWords,
  serverWords, sideWords, toLink, usualThreshold, write } from './settings.js';
import { Pane, depth, headName, paint } from './view.js';
import { openToken, recolour, showLens } from './lens.js';
import { curve } from './charts.js';
import { saveJson, saveSvg } from './picture.js';

const $ = id => document.getElementById(id);
const STORE = 'eellm-runs';
const KEPT = 12;

/** Turns of each side: as many, or as few as a time allows. */
const TURNS = 19;
const TURN_SECONDS = 12;
const CURVE_TURNS = 9;

let model = null; // what /v1/models says of the one that is served
let running = null; // the AbortController of what is being done
let shown = { a: null, b: null }; // the runs in the panes
let pinned = null; // the run that stays on the right
let runs = []; // earlier results, newest first
let lensOf = null; // the run that the lens shows
let curveOf = null; // what the curve was measured with
let drawCurve = () => {};
let room = null; // how many tokens may follow the prompt, once the server has counted it
const panes = {
  a: new Pane('a', openFrom),
  b: new Pane('b', openFrom),
};

function say(text, wrong = false) {
  $('message').textContent = text;
  $('message').classList.toggle('wrong', wrong);
}

function fault(error) {
  if (error.status === 401) {
    $('key-control').hidden = false;
  }
  return error instanceof Refusal || error.input ? error.message : `the page failed: ${error.message}`;
}

async function describe() {
  const { data } = await getJson('v1/models');
  const before = model;
  model = data[0];
  const { layers, exits } = model.early_exit;
  const context = model.max_model_len;
  $('about').textContent = exits.length
    ? `${model.id}: ${layers} layers, exits after ${exits.join(', ')}`
    : `${model.id}: ${layers} layers, no early exits`;
  $('tokens').max = context - 1;
  $('curve-go').hidden = !exits.length;
  if (before?.id !== model.id || `${before.early_exit.exits}` !== `${exits}`) {
    const settings = before ? read() : fromLink(location.hash.slice(1));
    const { open } = $('settings');
    $('settings').open = true; // some Chromium gives no size to a fieldset that is filled while folded away
    buildSide($('side-a'), 'a', model);
    buildSide($('side-b'), 'b', model);
    $('side-a').getBoundingClientRect();
    $('settings').open = open;
    if (!exits.length) {
      for (const side of [settings.a, settings.b]) {
        side.mode = ['speculative', 'server'].includes(side.mode) ? side.mode : 'full';
      }
    }
    settings.a.exits = settings.a.exits.filter(layer => exits.includes(layer));
    settings.b.exits = settings.b.exits.filter(layer => exits.includes(layer));
    if (settings.tokens >= context) {
      settings.tokens = Math.max(1, context >> 1);
    }
    write(settings);
    showLegend();
    changed();
  }
  say('');
}

/** Whether the server's model is known; says what is wrong if not. */
async function start() {
  try {
    await describe();
    await count();
    return true;
  } catch (error) {
    if (error.status === 503) {
      $('about').textContent = error.message;
      setTimeout(start, 1000);
    } else {
      say(fault(error), true);
    }
    return false;
  }
}

function showLegend() {
  const { exits } = model.early_exit;
  $('legend').replaceChildren(...headsOf(exits).map(head => {
    const item = make('li', {}, headName(head));
    paint(item, head, headsOf(exits), 'exit', 'mark');
    return item;
  }));
}

/** How many tokens the prompt has, and how many may follow. */
async function count() {
  const [prompt, chat] = [$('prompt').value, $('chat').checked];
  let words = '';
  let left = null;
  try {
    if (prompt) {
      const { count: tokens, max_model_len: context } = await postJson('tokenize', { model: model.id, ...promptOf({ prompt, chat }) });
      left = context - tokens;
      words = left > 0
        ? `${plural(tokens, 'token')}; ${left} may follow`
        : `${plural(tokens, 'token')} leave no room in the model's context of ${context}; shorten it`;
    }
  } catch (error) {
    if (error.status !== 400) {
      throw error;
    }
    words = error.message; // of a prompt that is too long to be counted
  }
  if (prompt === $('prompt').value && chat === $('chat').checked) { // else another count comes
    room = left;
    $('count').textContent = words;
    offerRoom();
  }
}

/** Offers as many tokens as fit, where more are asked for. */
function offerRoom() {
  $('fit').hidden = !(room > 0 && Number($('tokens').value) > room);
  $('fit').textContent = `Use ${room}`;
}

let counting = 0;
function countSoon() {
  room = null;
  clearTimeout(counting);
  counting = setTimeout(() => model && count().catch(() => { $('count').textContent = ''; }), 300);
}

/** The form's settings; null, and a message, where a field has no value that it may have. */
function settingsNow() {
  document.querySelectorAll('[aria-invalid]').forEach(input => input.removeAttribute('aria-invalid'));
  try {
    const settings = read();
    if (!settings.prompt) {
      throw Object.assign(new Error('Prompt: it is empty; give at least one character'), { input: $('prompt') });
    }
    if (room !== null && settings.tokens > room) {
      throw room > 0
        ? Object.assign(new Error(`Tokens: ${settings.tokens} are more than the ${room} that fit behind this prompt; use ${room} or less`), { input: $('tokens') })
        : Object.assign(new Error('Prompt: it leaves no room for a token; shorten it'), { input: $('prompt') });
    }
    return settings;
  } catch (error) {
    if (error.input) {
      error.input.setAttribute('aria-invalid', 'true');
      for (let folded = error.input.closest('details'); folded; folded = folded.parentElement.closest('details')) {
        folded.open = true;
      }
    }
    say(fault(error), true);
    return null;
  }
}

/** After any change of the form: what has an effect is shown, and the address holds it. */
function changed() {
  let settings;
  try {
    settings = read();
  } catch {
    return; // it is said when it is to be used
  }
  arrangeSide($('side-a'), settings.a);
  arrangeSide($('side-b'), settings.b);
  arrange(settings);
  $('settings-now').textContent = `${sideWords(settings.a)}${settings.compare ? ` beside ${nameFor(settings.b)}` : ''}; ${samplingWords(settings, settings.seed ?? 'a new one')}`;
  history.replaceState(null, '', `#${toLink(settings)}`);
  showEstimate(settings);
}

function arrange(settings) {
  const both = settings.compare || pinned !== null;
  $('side-b').hidden = !settings.compare || pinned !== null;
  $('form').classList.toggle('alone', $('side-b').hidden);
  $('pane-b').hidden = !both;
  $('panes').classList.toggle('alone', !both);
}

function newRun(name, settings, seed) {
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
async function generate(run, pane, signal) {
  pane.begin(run);
  const body = {
    ...requestBody(run.settings, run.model, run.seed),
    early_exit: { ...earlyExit(run.side), per_token: true },
  };
  const began = performance.now();
  let drawn = 0;
  for await (const part of stream(run.settings.chat ? 'v1/chat/completions' : 'v1/completions', body, signal)) {
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
async function ask(run, signal) {
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

/** Generates once more without showing it. */
async function turn(run, side, signal) {
  const path = run.settings.chat ? 'v1/chat/completions' : 'v1/completions';
  const { metrics, usage: { completion_tokens: tokens } } = await postJson(path, {
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
async function takeTurns(run, a, b, most, signal, tell) {
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

function speeds(turns, name) {
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
const speedsNow = turns =>
  `${speeds(turns, 'a').median} and ${speeds(turns, 'b').median} tokens/s, ratio ${compareTurns(turns).ratio.toFixed(2)} so far`;

/** A side's words within a sentence. */
const nameFor = side => sideWords(side).replace(/^./, first => first.toLowerCase());

const verdict = run => speedSentence(compareTurns(run.turns), 'The left', 'the right') + loadSentence(run.load ?? {});

async function compare(a, b, signal) {
  const { turns, load } = await takeTurns(a, a.side, b.side, TURNS, signal, counted =>
    say(`timing both in turns, ${counted.length + 1} of ${TURNS}${counted.length ? `: ${speedsNow(counted)}` : ''} …`));
  const result = compareTurns(turns);
  a.speeds = speeds(turns, 'a');
  b.speeds = speeds(turns, 'b');
  if (result.clear && !result.busy) { // what estimates go by
    a.perToken = median(turns.map(seconds => seconds.a));
    b.perToken = median(turns.map(seconds => seconds.b));
  }
  a.turns = turns;
  a.load = load;
  panes.a.figures(a);
  panes.b.figures(b);
  $('verdict').textContent = verdict(a);
}

/** Whether a text is the full model's; that of lossless drafts is. */
const isFull = run => ['full', 'speculative'].includes(effective(run.side, model.early_exit)?.mode);

/** The side whose text says most under the lens: the left, with its drafts, unless the right alone is the full model's. */
const lensFirst = (a, b) => (b?.lens && isFull(b) && !isFull(a) ? 'b' : 'a');

/** Where the texts part, and how often the left makes the full model's choices on its text. */
function showAgreement(a, b) {
  const same = commonTokens(a.tokens, b.tokens);
  const alike = same === a.tokens.length && same === b.tokens.length;
  if (!alike) {
    panes.a.mark(same);
    panes.b.mark(same);
  }
  const sentences = [alike
    ? `Both texts are the same, ${plural(same, 'token')}.`
    : `The texts part at token ${same + 1}.`];
  const reference = [b, a].find(run => run.lens && isFull(run));
  const other = reference === b ? a : b;
  const side = reference && effective(other.side, model.early_exit);
  if (side && side.mode !== 'propagate' && !isFull(other)) {
    const { right, tokens } = estimate(reference.lens, side, reference.layers);
    sentences.push(`Agreement, given the full model's text: ${percent(right / tokens)} (${right} of ${plural(tokens, 'token')}).`);
  }
  $('agreement').textContent = sentences.join(' ');
}

function openFrom(name, index) {
  const run = shown[name];
  if (run?.lens) {
    if (lensOf !== run) {
      useLens(name);
    }
    openToken(index);
    $('details').scrollIntoView({ block: 'nearest' });
  }
}

function useLens(name) {
  lensOf = shown[name];
  $('lens-of').value = name;
  $('lens').hidden = !lensOf?.lens;
  if (lensOf?.lens) {
    showLens(lensOf, effective(read().a, model.early_exit));
    showEstimate(read());
  }
}

/** What the left settings would come to on the lens's text, before anything is run. */
function showEstimate(settings) {
  if (!lensOf?.lens) {
    return;
  }
  const side = effective(settings.a, model.early_exit);
  const made = recolour(side);
  if (!made || side.mode === 'propagate') {
    $('estimate').textContent = made ? 'Propagated keys and values are not exact: no estimate.'
      : 'The page does not compute this policy, or thresholds that change with a temperature or along the text: no estimate.';
    return;
  }
  if (side.mode === 'speculative') {
    $('estimate').textContent = 'Drafts lose nothing: the text is the full model’s. Their speed is measured, not estimated.';
    return;
  }
  const { layers } = lensOf;
  const words = [
    `${sideWords(settings.a)}: would pass ${made.depth.toFixed(2)} of ${layers} layers`,
    `and make the full model's choice for ${percent(made.right / made.tokens)} of the tokens`,
  ];
  const timed = [shown.a, shown.b].filter(run => run?.perToken && run.side.mode !== 'speculative')
    .map(run => ({ depth: depth(run), seconds: run.perToken }));
  const seconds = timeAtDepth(made.depth, timed);
  const full = timeAtDepth(layers, timed);
  words.push(seconds && full
    ? `, at about ${(full / seconds).toFixed(2)} times the full model's speed`
    : `, at most ${(layers / made.depth).toFixed(2)} times as fast as all layers`);
  $('estimate').textContent = `${words.join(' ').replace(' ,', ',')} (estimated).`;
}

async function go() {
  const settings = settingsNow();
  if (!settings) {
    return;
  }
  running?.abort();
  const mine = new AbortController();
  running = mine;
  const { signal } = mine;
  $('stop').setAttribute('aria-disabled', 'false');
  setKey($('key').value);
  const seed = settings.seed ?? Math.floor(Math.random() * 2 ** 31);
  const both = settings.compare && !pinned;
  $('verdict').textContent = '';
  $('agreement').textContent = '';
  $('lens').hidden = true;
  $('tools').hidden = true;
  lensOf = null;
  const a = newRun('a', settings, seed);
  const b = both ? newRun('b', settings, seed) : pinned;
  shown = { a, b };
  keepCurveOf(a);
  panes.a.clear();
  if (both) {
    panes.b.clear('Comes after the left one: at the same time, they would take each other’s time.');
  }
  let pane = panes.a;
  try {
    say('writing the text on the left …');
    await generate(a, panes.a, signal);
    if (both) {
      pane = panes.b;
      say('writing the text on the right …');
      await generate(b, panes.b, signal);
    }
    pane = null;
    say('asking every exit …');
    await ask(a, signal);
    if (both) {
      await ask(b, signal);
    }
    if (b && a.tokens.length && b.tokens.length) {
      showAgreement(a, b);
    }
    remember(a, both ? b : null);
    useLens(lensFirst(a, both ? b : null));
    $('tools').hidden = false;
    if (both && a.tokens.length && b.tokens.length) {
      await compare(a, b, signal);
      showEstimate(read());
      remember(a, b);
    } else if (pinned) {
      $('verdict').textContent = 'The pinned run was timed at another time: no verdict about speed.';
    }
    say(`done: ${plural(a.tokens.length, 'token')}, mean depth ${a.tokens.length ? depth(a).toFixed(2) : 0} of ${a.layers}`);
  } catch (error) {
    if (running !== mine) {
      return; // a newer one has begun
    }
    if (error.name === 'AbortError') {
      say('stopped');
      for (const name of ['a', 'b']) {
        if (shown[name] && shown[name] !== pinned && !shown[name].finish) {
          shown[name].stopped = true;
          shown[name].tokens.length ? panes[name].figures(shown[name]) : panes[name].clear('Not written.');
        }
      }
    } else if (error.code === 'model_not_found' && !go.again) {
      go.again = true; // another model is served by now
      try {
        if (await start()) {
          await go();
        }
      } finally {
        go.again = false;
      }
      return;
    } else {
      say(fault(error), true);
      pane?.fail(fault(error));
      if (pane === panes.a && both) {
        panes.b.clear();
      }
    }
  } finally {
    if (running === mine) {
      running = null;
      $('stop').setAttribute('aria-disabled', 'true');
    }
  }
}

/** Keeps a result, so that it can be shown again, pinned, and is there after a reload. */
function remember(a, b) {
  runs = [{ a, b }, ...runs.filter(entry => entry.a !== a)].slice(0, KEPT);
  const slim = run => run && { ...run, lens: null };
  try {
    sessionStorage.setItem(STORE, JSON.stringify(runs.map(entry => ({ a: slim(entry.a), b: slim(entry.b) }))));
  } catch {
    sessionStorage.removeItem(STORE); // too much for the browser to keep
  }
  showRuns();
}

function showRuns() {
  $('history').hidden = runs.length === 0;
  $('runs').replaceChildren(...runs.map((entry, i) => {
    const { a, b } = entry;
    const show = make('button', { type: 'button', className: 'light' }, 'Show');
    show.addEventListener('click', () => showAgain(entry));
    const isPinned = pinned === a;
    const pin = make('button', { type: 'button', className: 'light', 'aria-pressed': String(isPinned) }, isPinned ? 'Unpin' : 'Pin');
    pin.addEventListener('click', () => {
      pinned = isPinned ? null : a;
      if (pinned) {
        shown.b = pinned;
        panes.b.show({ ...pinned, title: pinned.title.replace('Left', 'Pinned') });
      } else {
        shown.b = null;
        panes.b.clear('Not written yet.');
      }
      $('verdict').textContent = '';
      $('agreement').textContent = '';
      changed();
      showRuns();
      $('runs').querySelectorAll('[aria-pressed]')[i].focus();
    });
    const words = `${a.settings.prompt.slice(0, 60)} — ${sideWords(a.side)}${b ? ` beside ${nameFor(b.side)}` : ''}: `
      + `${plural(a.tokens.length, 'token')}, depth ${a.tokens.length ? depth(a).toFixed(2) : '–'} of ${a.layers}`;
    return make('li', {}, make('span', { className: 'what' }, words), show, pin);
  }));
}

async function showAgain({ a, b }) {
  running?.abort();
  if (!pinned) {
    shown = { a, b };
  } else {
    shown.a = a;
  }
  keepCurveOf(a);
  write(a.settings);
  countSoon();
  changed();
  panes.a.show(a);
  if (!pinned) {
    b ? panes.b.show(b) : panes.b.clear('Not written.');
  }
  $('agreement').textContent = '';
  $('verdict').textContent = a.turns && b && !pinned ? verdict(a) : '';
  $('tools').hidden = false;
  try {
    if (a.model === model.id) {
      for (const run of [a, b]) {
        if (run && !run.lens) {
          await ask(run);
        }
      }
      if (shown.b && a.tokens.length && shown.b.tokens.length) {
        showAgreement(a, shown.b);
      }
      useLens(lensFirst(a, pinned ? null : b));
    }
  } catch (error) {
    say(fault(error), true);
  }
}

/** What a curve is of: it goes when another text comes. */
const curveKey = run => JSON.stringify([run.model, run.settings.temperature > 0 && run.seed, { ...run.settings, a: 0, b: 0, compare: 0 }]);

function keepCurveOf(run) {
  if (curveOf !== curveKey(run)) {
    $('curve').hidden = true;
  }
}

/** Times some thresholds beside the full model, and draws as they come. */
async function measureCurve() {
  const run = shown.a;
  if (!run?.tokens.length || running) {
    return;
  }
  const { exits } = run.side;
  const usual = { ...DEFAULTS.a, mode: 'early-exit' };
  const { policy } = leavesEarly(run.side.mode) ? run.side : usual;
  $('curve').hidden = false;
  $('curve-chart').replaceChildren();
  if (usualThreshold(policy) === undefined) {
    $('curve-state').textContent = `The policy ${policy} has no threshold; choose one that has.`;
    return;
  }
  const mine = new AbortController();
  running = mine;
  $('stop').setAttribute('aria-disabled', 'false');
  curveOf = curveKey(run);
  const points = [];
  const loads = [];
  const full = DEFAULTS.b;
  try {
    let reference = [shown.b, shown.a].find(other => other?.side.mode === 'full' && other.lens && curveKey(other) === curveOf);
    if (!reference) {
      $('curve-state').textContent = 'writing the full model’s text …';
      const answer = await postJson(run.settings.chat ? 'v1/chat/completions' : 'v1/completions', {
        ...requestBody(run.settings, run.model, run.seed), early_exit: { mode: 'full', per_token: true },
      }, mine.signal);
      reference = { ...run, side: full, tokens: answer.choices[0].early_exit };
      await ask(reference, mine.signal);
    }
    const sideAt = threshold => effective({ ...usual, policy, threshold, exits }, model.early_exit);
    const thresholds = telling(reference.lens, sideAt());
    for (const threshold of thresholds) {
      const side = sideAt(threshold);
      $('curve-state').textContent = `threshold ${threshold}, ${points.length + 1} of ${thresholds.length} …`;
      const { turns, load } = await takeTurns(run, side, full, CURVE_TURNS, mine.signal, () => {});
      const { right, tokens } = estimate(reference.lens, side, reference.layers);
      loads.push(load);
      points.push({ threshold, agreement: right / tokens, ...compareTurns(turns) });
      drawCurve = () => $('curve-chart').replaceChildren(curve(points, $('curve-chart').clientWidth));
      drawCurve();
    }
    const [never] = points;
    const load = { others: Math.max(...loads.map(each => each.others)), waited: Math.max(...loads.map(each => each.waited)) };
    $('curve-state').textContent = (never.least > 1 || never.most < 1 || points.some(point => point.busy)
      ? `Not to be trusted: something else ran. At threshold ${never.threshold}, where nothing leaves early, the speed was ${never.least.toFixed(2)} to ${never.most.toFixed(2)} times the full model's.`
      : `${policy}${exits.length ? `, exits ${exits.join(', ')}` : ''}; ${plural(CURVE_TURNS, 'turn')} for each threshold, this prompt. Agreement is given the full model's text.`) + loadSentence(load);
  } catch (error) {
    $('curve-state').textContent = error.name === 'AbortError' ? 'stopped' : fault(error);
  } finally {
    if (running === mine) {
      running = null;
      $('stop').setAttribute('aria-disabled', 'true');
    }
  }
}

const caption = () => [
  `${shown.a.model}, ${shown.a.layers} layers, exits after ${shown.a.heads.slice(0, -1).map(head => head.slice(5)).join(', ') || 'none'}.`,
  $('verdict').textContent, $('agreement').textContent,
].filter(text => text).join(' ');

$('form').addEventListener('submit', async event => {
  event.preventDefault();
  setKey($('key').value);
  if (model || await start()) {
    go();
  }
});
$('stop').addEventListener('click', () => running?.abort());
$('form').addEventListener('input', event => {
  const { target } = event;
  if (target.dataset.key?.endsWith('.policy') && usualThreshold(target.value) !== undefined) {
    const range = target.closest('fieldset').querySelector('input[type=range]');
    range.max = mostThreshold(target.value);
    range.value = usualThreshold(target.value);
  }
  if (target.id === 'prompt' || target.id === 'chat') {
    countSoon();
  }
  offerRoom();
  if (model) {
    changed();
  }
});
$('form').addEventListener('change', event => {
  const key = event.target.dataset.key;
  if (key === 'compare' && !pinned) { // what was there belongs to another run
    shown.b = null;
    panes.b.clear('Not written yet.');
    $('verdict').textContent = '';
    $('agreement').textContent = '';
  }
  if (/^[ab]\./.test(key) && model && shown.a) {
    go(); // with the new settings at once, in place of what may be running
  }
});
$('fit').addEventListener('click', () => {
  $('tokens').value = room;
  $('tokens').dispatchEvent(new Event('input', { bubbles: true }));
  $('tokens').focus();
});
$('prompt').addEventListener('keydown', event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    $('form').requestSubmit();
  }
});
$('lens-of').addEventListener('change', event => shown[event.target.value]?.lens && useLens(event.target.value));
$('link').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    say('the link is copied; it holds all settings but the key');
  } catch {
    say('the address of this page holds all settings: copy it from there');
  }
});
$('save-json').addEventListener('click', () => saveJson({
  caption: caption(), link: location.href, left: shown.a, right: shown.b,
}));
$('save-svg').addEventListener('click', () => saveSvg(caption()));
$('curve-go').addEventListener('click', measureCurve);

addEventListener('resize', () => drawCurve());

/** Folds settings and figures where it is narrow, so that texts and verdict come first. */
const narrow = matchMedia('(max-width: 44rem)');
function unfold() {
  document.querySelectorAll('#settings, .more').forEach(details => { details.open = !narrow.matches; });
}
narrow.addEventListener('change', unfold);

async function restore() {
  unfold();
  $('key').value = savedKey();
  write(fromLink(location.hash.slice(1)));
  panes.a.clear('Not written yet.');
  panes.b.clear('Not written yet.');
  if (!await start()) {
    return;
  }
  try {
    runs = JSON.parse(sessionStorage.getItem(STORE) ?? '[]');
  } catch {
    runs = [];
  }
  showRuns();
  const link = toLink(read());
  const latest = runs.find(entry => toLink(entry.a.settings) === link);
  if (latest) {
    await showAgain(latest);
  }
}

restore();
