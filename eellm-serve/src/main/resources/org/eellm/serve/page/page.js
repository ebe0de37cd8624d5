// The page: streams texts with two settings beside each other, asks every exit about them, and
// times both in turns.

import { Refusal, getJson, postJson, savedKey, setKey } from './api.js';
import { goOn, showTurns } from './chat.js';
import { clearCurve, measureCurve, measured } from './curve.js';
import { commonTokens, compareTurns, effective, estimate, headsOf, leavesEarly, loadSentence, median, percent, plural,
  speedSentence, telling, timeAtDepth } from './decide.js';
import { markColumn, onOpen, recolour, showLens } from './lens.js';
import { entriesKept, openNotebook, remember, showNotebook } from './notebook.js';
import { saveJson, saveSvg } from './picture.js';
import { DEFAULTS, arrangeSide, buildSide, contradiction, fromLink, make, mostThreshold, pathOf, promptOf, read, requestBody,
  samplingWords, sideWords, toLink, usualThreshold, usualThresholds, write } from './settings.js';
import { ask, newRun, writeText } from './run.js';
import { TURNS, speeds, speedsNow, takeTurns } from './timing.js';
import { closeToken, openToken, openedToken } from './token.js';
import { Pane, depth, headName, hideTip, paint } from './view.js';

const $ = id => document.getElementById(id);
const SIDES = { a: 'left', b: 'right' };

let model = null; // what /v1/models says of the one that is served
let running = null; // the AbortController of what is being done
let shown = { a: null, b: null }; // the runs in the panes
let pinned = null; // the run that stays on the right
let lensOf = null; // the run that the lens shows
let curveOf = null; // what the curve was measured with
let room = null; // how many tokens may follow the prompt, once the server has counted it
const panes = Object.fromEntries(Object.keys(SIDES).map(name =>
  [name, new Pane(name, openFrom, (side, index) => openedToken() && openFrom(side, index))]));

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
  for (const id of ['curve-go', 'what', 'drag']) {
    $(id).hidden = !exits.length;
  }
  if (before?.id !== model.id || `${before.early_exit.exits}` !== `${exits}`) {
    const kept = before && read();
    const { open } = $('settings');
    $('settings').open = true; // some Chromium gives no size to a fieldset that is filled while folded away
    buildSide($('side-a'), 'a', model);
    buildSide($('side-b'), 'b', model);
    $('side-a').getBoundingClientRect();
    $('settings').open = open;
    const settings = kept ?? firstSettings(); // of a link, whose policies' numbers have to be known
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
    showExamples();
    changed();
  }
  say('');
}

/** What a link says; without one, a prompt of the model's own, if it has any. */
function firstSettings() {
  const settings = fromLink(location.hash.slice(1));
  return location.hash.length > 1 ? settings : { ...settings, prompt: model.prompts[0] ?? settings.prompt };
}

/** Offers the prompts that lie beside the model. */
function showExamples() {
  $('examples').hidden = !model.prompts.length;
  $('examples').replaceChildren(...model.prompts.map((prompt, i) => {
    const button = make('button', { type: 'button', className: 'light', title: prompt }, `Example ${i + 1}`);
    button.addEventListener('click', () => {
      $('prompt').value = prompt;
      $('prompt').dispatchEvent(new Event('input', { bubbles: true }));
      generate();
    });
    return button;
  }));
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
  const what = () => JSON.stringify(['prompt', 'chat', 'lines', 'system', 'turns'].map(id => ($(id).type === 'checkbox' ? $(id).checked : $(id).value)));
  const before = what();
  const [prompt, chat, lines, system, turns] = JSON.parse(before);
  let words = '';
  let left = null;
  try {
    if (lines && !chat) {
      words = plural(promptsOf({ prompt, lines }).length, 'prompt');
    } else if (prompt) {
      const { count: tokens, max_model_len: context } = await postJson('tokenize', { model: model.id, ...promptOf({ prompt, chat, system, turns }) });
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
  if (before === what()) { // else another count comes
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
    const wrong = contradiction(settings);
    if (wrong) {
      throw wrong;
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
  arrangeSide($('side-a'), settings.a, $('threshold'));
  arrangeSide($('side-b'), settings.b, $('threshold-b'));
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
  $('conversation').hidden = !settings.chat;
  $('lines').closest('.check').hidden = settings.chat;
  showTurns(settings, entriesKept(), showAgain);
}

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

/** Where the texts part, and how often the left's exits make the full model's choices on its text; that share is returned. */
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
  let share = null;
  if (side && side.mode !== 'propagate' && !isFull(other)) {
    const { right, tokens } = estimate(reference.lens, side, reference.layers);
    share = right / tokens;
    sentences.push(`Exits chose as the final head would, given the full model's text: ${percent(share)} (${right} of ${plural(tokens, 'token')}).`);
  }
  $('agreement').textContent = sentences.join(' ');
  return share;
}

/** Says what the marks mean that are to be seen. */
function showMarks() {
  document.querySelectorAll('#marks [data-of]').forEach(words => {
    words.hidden = !document.querySelector(`#panes section:not([hidden]) .token.${words.dataset.of}`);
  });
}

/** Opens a token of a pane's text; the lens shows the same one. */
function openFrom(name, index) {
  const run = shown[name];
  if (!run?.tokens[index]) {
    return;
  }
  openToken(name, run, index);
  for (const each of Object.keys(panes)) {
    panes[each].choose(each === name ? index : -1);
  }
  if (run.lens && lensOf !== run) {
    useLens(name);
  }
  if (lensOf === run) {
    markColumn(index);
  }
}

function step(by) {
  const { name, index } = openedToken();
  openFrom(name, index + by);
}

/** Closes the open token; the focus goes back to where it stands in the text. */
function closeOpened(focus = true) {
  const open = openedToken();
  if (!open) {
    return;
  }
  closeToken();
  markColumn(-1);
  panes[open.name].choose(-1);
  if (focus && shown[open.name] === open.run) {
    panes[open.name].focus(open.index);
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

/** Shows the left settings on the texts that are there, before anything is run. */
function showEstimate(settings) {
  const run = shown.a;
  $('write-so').hidden = true;
  if (!run?.lens) {
    $('estimate').textContent = '';
    return;
  }
  const side = effective(settings.a, model.early_exit);
  recolour(side);
  const known = side && leavesEarly(side.mode) && side.mode !== 'propagate';
  const differs = JSON.stringify(settings.a) !== JSON.stringify(run.settings.a);
  const made = known ? estimate(run.lens, side, run.layers) : null;
  panes.a.recolour(run, made && differs ? made.places.map(place => run.heads[place]) : run.tokens.map(token => token.head));
  $('write-so').hidden = !differs;
  $('estimate').textContent = estimateWords(run, side, made);
}

function estimateWords(run, side, made) {
  if (!made) {
    return !side ? 'The page does not compute this policy, or thresholds that change with a temperature or along the text: no estimate.'
      : side.mode === 'propagate' ? 'Propagated keys and values are not exact: no estimate.'
        : 'It loses nothing: the text is the full model’s. Its speed is measured, not estimated.';
  }
  const { layers } = run;
  const points = $('curve').hidden || measured().some(point => point.busy) ? [] : measured();
  const timed = points.length > 1
    ? [points[0], points.at(-1)].map(point => ({ depth: point.depth, seconds: 1 / point.ratio }))
    : [shown.a, shown.b].filter(each => each?.perToken && each.side.mode !== 'speculative')
      .map(each => ({ depth: depth(each), seconds: each.perToken }));
  const seconds = timeAtDepth(made.depth, timed);
  const full = timeAtDepth(layers, timed);
  const speed = seconds && full
    ? `about ${(full / seconds).toFixed(2)} times the full model's speed`
    : `at most ${(layers / made.depth).toFixed(2)} times as fast as all layers`;
  return `Estimated for this text: ${made.depth.toFixed(2)} of ${layers} layers a token, the final head's choice for `
    + `${percent(made.right / made.tokens)} of the tokens, ${speed}.`;
}

const promptsOf = settings => (settings.lines && !settings.chat ? settings.prompt.split('\n').filter(line => line.trim()) : [settings.prompt]);

/** Writes what the form asks for: a text, or one after the other. */
async function generate() {
  const settings = settingsNow();
  if (settings) {
    for (const prompt of promptsOf(settings)) {
      if (!await go({ ...settings, prompt, lines: false })) {
        return;
      }
    }
  }
}

/** Begins something that Stop ends, in place of what is being done. */
function begin() {
  running?.abort();
  running = new AbortController();
  $('stop').setAttribute('aria-disabled', 'false');
  return running;
}

function end(mine) {
  if (running === mine) {
    running = null;
    $('stop').setAttribute('aria-disabled', 'true');
  }
}

/** A threshold that shows something, as the slider has it: of those that let tokens leave, the last one at which nine of ten are right. */
function tellingThreshold(run, settings) {
  const side = effective(settings.a, model.early_exit);
  const [never, ...some] = telling(run.lens, side).map(threshold => Math.floor(100 * threshold) / 100);
  return some.findLast(threshold => {
    const { right, tokens } = estimate(run.lens, { ...side, threshold }, run.layers);
    return right >= .9 * tokens;
  }) ?? some[0] ?? never;
}

/**
 * Writes a text with both settings.
 *
 * @param opening whether the page has just been opened: nothing is timed, and the left threshold is
 *     one that shows something
 * @param timed whether both are timed in turns
 * @return whether it went well
 */
async function go(settings, { opening = false, timed = true } = {}) {
  const mine = begin();
  const { signal } = mine;
  setKey($('key').value);
  const seed = settings.seed ?? Math.floor(Math.random() * 2 ** 31);
  const both = settings.compare && !pinned;
  closeOpened(false);
  $('verdict').textContent = '';
  $('agreement').textContent = '';
  $('estimate').textContent = '';
  $('write-so').hidden = true;
  $('lens').hidden = true;
  $('tools').hidden = true;
  lensOf = null;
  let a = newRun(model, 'a', settings, seed);
  const b = both ? newRun(model, 'b', settings, seed) : pinned;
  shown = { a, b };
  keepCurveOf(a);
  panes.a.clear();
  if (both) {
    panes.b.clear('Comes after the left one: at the same time, they would take each other’s time.');
  }
  let pane = 'a';
  const writeSide = async (name, run) => {
    pane = name;
    say(`writing the text on the ${SIDES[name]} …`);
    await writeText(run, panes[name], signal);
  };
  try {
    if (opening && both) {
      panes.a.clear('Comes after the right one, which tells a threshold that shows something.');
      panes.b.clear();
      await writeSide('b', b);
      await ask(b, signal);
      settings.a.threshold = tellingThreshold(b, settings);
      a = shown.a = newRun(model, 'a', settings, seed);
      write(settings);
      changed();
    }
    await writeSide('a', a);
    if (both && !b.finish) {
      await writeSide('b', b);
    }
    pane = null;
    say('asking every exit …');
    await ask(a, signal);
    if (both && !b.lens) {
      await ask(b, signal);
    }
    const entry = { id: crypto.randomUUID?.() ?? String(Math.random()), name: '', when: Date.now(), agreement: null, a, b: both ? b : null };
    if (b && a.tokens.length && b.tokens.length) {
      entry.agreement = showAgreement(a, b);
    }
    await remember(entry);
    useLens(lensFirst(a, both ? b : null));
    showMarks();
    showTools(a, b);
    if (openedToken()) {
      step(0); // what heads say of it is known
    }
    if (timed && both && a.tokens.length && b.tokens.length) {
      await compare(a, b, signal);
      showEstimate(read());
      await remember(entry);
    } else if (pinned) {
      $('verdict').textContent = 'The pinned run was timed at another time: no verdict about speed.';
    }
    signal.throwIfAborted(); // a newer one may have begun while this one was remembered
    say(`done: ${plural(a.tokens.length, 'token')}, mean depth ${a.tokens.length ? depth(a).toFixed(2) : 0} of ${a.layers}${timed || !both ? '' : '; Generate times both'}`);
    return true;
  } catch (error) {
    if (running !== mine) {
      return false; // a newer one has begun
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
        return await start() && await go(read(), { timed });
      } finally {
        go.again = false;
      }
    } else {
      say(fault(error), true);
      if (pane) {
        panes[pane].fail(shown[pane], fault(error));
        if (a.tokens.length) {
          showTools(a, b);
        }
        if (both && pane === 'a' && !b.tokens.length) {
          panes.b.clear();
        }
      }
    }
    return false;
  } finally {
    end(mine);
  }
}

function showTools(a, b) {
  $('tools').hidden = false;
  $('answer-a').hidden = !a.settings.chat;
  $('answer-b').hidden = !a.settings.chat || !b;
}

function pin({ a }) {
  pinned = pinned === a ? null : a;
  shown.b = pinned;
  if (pinned) {
    panes.b.show({ ...pinned, title: pinned.title.replace('Left', 'Pinned') });
  } else {
    panes.b.clear('Not written yet.');
  }
  $('verdict').textContent = '';
  $('agreement').textContent = '';
  changed();
  showNotebook();
  $('runs').querySelector('[aria-pressed=true]')?.focus();
}

async function showAgain({ a, b }) {
  running?.abort();
  closeOpened(false);
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
  say('shown as it was written');
  $('panes').scrollIntoView({ block: 'nearest' });
  $('agreement').textContent = '';
  $('verdict').textContent = a.turns && b && !pinned ? verdict(a) : '';
  showTools(a, shown.b);
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
    showMarks();
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
async function curveGo() {
  const run = shown.a;
  if (!run?.tokens.length || running) {
    return;
  }
  const { exits } = run.side;
  const usual = DEFAULTS.a;
  const { policy } = leavesEarly(run.side.mode) ? run.side : usual;
  const tell = words => { $('curve-state').textContent = words; };
  $('curve').hidden = false;
  clearCurve();
  if (usualThreshold(policy) === undefined) {
    tell(`The policy ${policy} has no threshold; choose one that has.`);
    return;
  }
  const mine = begin();
  curveOf = curveKey(run);
  const full = { ...DEFAULTS.b, mode: 'full' };
  try {
    let reference = [shown.b, shown.a].find(other => other && isFull(other) && other.lens && curveKey(other) === curveOf);
    if (!reference) {
      tell('writing the full model’s text …');
      const answer = await postJson(pathOf(run.settings), {
        ...requestBody(run.settings, run.model, run.seed), early_exit: { mode: 'full', per_token: true },
      }, mine.signal);
      reference = { ...run, side: full, tokens: answer.choices[0].early_exit };
      await ask(reference, mine.signal);
    }
    await measureCurve(run, reference, full, threshold => effective({ ...usual, policy, threshold, exits }, model.early_exit), mine.signal, tell);
  } catch (error) {
    tell(error.name === 'AbortError' ? 'stopped' : fault(error));
  } finally {
    end(mine);
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
    generate();
  }
});
$('stop').addEventListener('click', () => running?.abort());

/** Settings stand in the form, and above the text. */
function onInput({ target }) {
  if (!target.dataset.key) {
    return;
  }
  if (target.dataset.key.endsWith('.policy') && usualThreshold(target.value) !== undefined) {
    const range = $(target.id.replace('policy', 'threshold'));
    range.max = mostThreshold(target.value);
    range.value = usualThreshold(target.value);
    const own = usualThresholds(target.value);
    target.closest('fieldset').querySelectorAll('.each input').forEach(input => { input.value = own[input.dataset.key.split('.').at(-1)] ?? ''; });
  }
  if (['prompt', 'chat', 'lines', 'system', 'turns'].includes(target.id)) {
    countSoon();
  }
  offerRoom();
  if (model) {
    soon();
  }
}

let frame = null;
/** What a change of settings shows, once for each picture of the screen. */
function soon() {
  frame ??= requestAnimationFrame(() => {
    frame = null;
    changed();
  });
}

function onChange({ target }) {
  const { key } = target.dataset;
  if (key === 'compare' && !pinned) { // what was there belongs to another run
    shown.b = null;
    panes.b.clear('Not written yet.');
    $('verdict').textContent = '';
    $('agreement').textContent = '';
  }
  const estimated = /^a\.threshold/.test(key) && shown.a?.lens; // what is to be seen before it is run
  if (/^[ab]\./.test(key) && model && shown.a && !estimated) {
    generate(); // with the new settings at once, in place of what may be running
  }
}

for (const place of [$('form'), $('drag')]) {
  place.addEventListener('input', onInput);
  place.addEventListener('change', onChange);
}
$('write-so').addEventListener('click', generate);
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
addEventListener('keydown', event => {
  if (event.key === 'Escape') {
    hideTip();
    openedToken() ? closeOpened() : running?.abort();
  }
});
onOpen(index => openFrom($('lens-of').value, index));
$('token-before').addEventListener('click', () => step(-1));
$('token-next').addEventListener('click', () => step(1));
$('token-close').addEventListener('click', () => closeOpened());
$('token').addEventListener('keydown', event => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by) {
    event.preventDefault();
    step(by);
  }
});
$('lens-of').addEventListener('change', event => shown[event.target.value]?.lens && useLens(event.target.value));
$('answer-a').addEventListener('click', () => goOn(shown.a));
$('answer-b').addEventListener('click', () => goOn(shown.b));
$('link').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    say('the link is copied; it holds the prompt and all settings, but neither the key nor what was written');
  } catch {
    say('the address of this page holds all settings: copy it from there');
  }
});
$('save-json').addEventListener('click', () => saveJson({
  caption: caption(), link: location.href, left: shown.a, right: shown.b,
}));
$('save-svg').addEventListener('click', () => saveSvg(caption()));
$('print').addEventListener('click', () => print());
$('curve-go').addEventListener('click', curveGo);

/** Folds settings and figures where it is narrow, so that texts and verdict come first. */
const narrow = matchMedia('(max-width: 44rem)');
function unfold() {
  document.querySelectorAll('#settings, .more').forEach(details => { details.open = !narrow.matches; });
}
narrow.addEventListener('change', unfold);

/** The page opens on a text: the one that was there before, that of a link, or an example's. */
async function restore() {
  unfold();
  const link = location.hash.slice(1);
  $('key').value = savedKey();
  write(fromLink(link));
  panes.a.clear('Not written yet.');
  panes.b.clear('Not written yet.');
  showMarks();
  const opening = openNotebook({ show: showAgain, pin, pinned: () => pinned, wrong: words => say(words, true) });
  if (!await start()) {
    return;
  }
  await opening;
  showNotebook(); // in words of the model
  if (running || shown.a) {
    return; // something has been asked for by now
  }
  changed();
  const latest = link && entriesKept().find(entry => toLink(entry.a.settings) === toLink(read()) && entry.a.model === model.id);
  if (latest) {
    await showAgain(latest);
    return;
  }
  const settings = settingsNow();
  if (settings && !settings.lines) {
    await go(settings, { opening: !link && settings.a.mode === 'early-exit', timed: false });
  }
}

restore();
