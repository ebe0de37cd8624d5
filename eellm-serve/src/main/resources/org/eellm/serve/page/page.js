// The page: streams a text with early exits, and the full model's beside it, token by token.

const $ = id => document.getElementById(id);
const form = $('form');
const tip = $('tip');
const COLOURS = 6;
const KEY = 'eellm-api-key';

let model = null; // what /v1/models says of the one that is served
let heads = []; // names of the heads, shallowest first: exit_2, final
let running = null; // the AbortController of what is being generated
let chosen = null; // the token whose tip is shown

$('key').value = sessionStorage.getItem(KEY) ?? '';

function headers() {
  const key = $('key').value;
  return {
    'Content-Type': 'application/json',
    ...(key ? { Authorization: `Bearer ${key}` } : {}),
  };
}

function say(text, wrong = false) {
  $('message').textContent = text;
  $('message').classList.toggle('wrong', wrong);
}

/** The server's own words for what went wrong. */
async function reason(response) {
  if (response.status === 401) {
    $('key-control').hidden = false;
  }
  try {
    return (await response.json()).error.message;
  } catch {
    return `the server answers ${response.status}`;
  }
}

async function describe() {
  const response = await fetch('v1/models', { headers: headers() });
  if (!response.ok) {
    const why = await reason(response);
    if (response.status === 503) {
      $('about').textContent = why;
      setTimeout(start, 1000);
      return;
    }
    throw new Error(why);
  }
  model = (await response.json()).data[0];
  const { layers, exits } = model.early_exit;
  heads = [...exits.map(layer => `exit_${layer}`), 'final'];
  $('about').textContent = exits.length
    ? `${model.id}: ${layers} layers, exits after ${exits.join(', ')}`
    : `${model.id}: ${layers} layers, no early exits`;
  $('threshold-control').hidden = !exits.length;
  $('compare').parentElement.hidden = !exits.length;
  $('own').parentElement.hidden = !exits.length;
  $('compare').checked &&= exits.length > 0;
  $('tokens').max = model.max_model_len;
  showLegend();
  for (const pane of ['early', 'full']) {
    showHistogram(pane, []);
  }
  arrange();
  say('');
}

const start = () => describe().catch(error => say(error.message, true));

function headName(head) {
  return head === 'final' ? 'final head' : `exit ${head.slice(5)}`;
}

function paint(element, head) {
  if (head === 'final') {
    element.style.borderBottomColor = 'var(--bar-final)';
    return;
  }
  const index = heads.indexOf(head) % COLOURS;
  element.style.background = `var(--exit-${index})`;
  element.style.borderBottomColor = `var(--bar-${index})`;
}

function barColour(head) {
  return head === 'final' ? 'var(--bar-final)' : `var(--bar-${heads.indexOf(head) % COLOURS})`;
}

function showLegend() {
  $('legend').replaceChildren(
    ...heads.map(head => {
      const item = document.createElement('li');
      item.textContent = headName(head);
      paint(item, head);
      return item;
    }));
}

function showHistogram(pane, tokens) {
  const box = document.querySelector(`#${pane} .histogram`);
  const rows = [];
  const counts = heads.map(head => tokens.filter(token => token.head === head).length);
  heads.forEach((head, i) => {
    const share = tokens.length ? counts[i] / tokens.length : 0;
    const name = document.createElement('span');
    name.textContent = headName(head);
    const track = document.createElement('div');
    track.className = 'track';
    const bar = document.createElement('div');
    bar.className = 'bar';
    bar.style.width = `${100 * share}%`;
    bar.style.background = barColour(head);
    track.append(bar);
    const count = document.createElement('span');
    count.className = 'count';
    count.textContent = `${counts[i]} (${Math.round(100 * share)} %)`;
    rows.push(name, track, count);
  });
  box.replaceChildren(...rows);
  box.setAttribute('aria-label',
    'Tokens by exit: ' + heads.map((head, i) => `${headName(head)} ${counts[i]}`).join(', '));
}

function figures(pane, entries) {
  document.querySelector(`#${pane} .figures`).replaceChildren(
    ...entries.map(([name, value]) => {
      const row = document.createElement('div');
      const term = document.createElement('dt');
      term.textContent = name;
      const definition = document.createElement('dd');
      definition.textContent = value;
      row.append(term, definition);
      return row;
    }));
}

const mean = tokens => tokens.reduce((sum, token) => sum + token.layer, 0) / tokens.length;

function showFigures(run) {
  if (!run.tokens.length) {
    figures(run.pane, []);
    return;
  }
  figures(run.pane, [
    ['time', `${run.seconds.toFixed(2)} s`],
    ['tokens', run.tokens.length],
    ['tokens/s', (run.tokens.length / run.seconds).toFixed(1)],
    ['mean depth', `${mean(run.tokens).toFixed(2)} of ${model.early_exit.layers}`],
  ]);
}

/** What a token was, and what else it might have been. */
function showTip(element) {
  const { token, alternatives } = element.detail;
  chosen?.classList.remove('chosen');
  chosen = element;
  element.classList.add('chosen');
  const line = document.createElement('div');
  line.textContent = `${JSON.stringify(token.token)} left at ${headName(token.head)}, `
    + `layer ${token.layer} of ${model.early_exit.layers}`;
  const sure = document.createElement('div');
  sure.textContent = `confidence ${(100 * token.confidence).toFixed(1)} %`;
  const table = document.createElement('table');
  for (const [text, logProbability] of Object.entries(alternatives)) {
    const row = table.insertRow();
    row.insertCell().textContent = JSON.stringify(text);
    row.insertCell().textContent = `${(100 * Math.exp(logProbability)).toFixed(1)} %`;
  }
  tip.replaceChildren(line, sure, table);
  tip.hidden = false;
  const box = element.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, innerWidth - tip.offsetWidth - 8));
  const below = box.bottom + tip.offsetHeight + 8 < innerHeight;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${(below ? box.bottom + 6 : box.top - tip.offsetHeight - 6) + scrollY}px`;
}

function hideTip() {
  chosen?.classList.remove('chosen');
  chosen = null;
  tip.hidden = true;
}

for (const text of document.querySelectorAll('.text')) {
  const show = event => event.target.classList.contains('token') && showTip(event.target);
  text.addEventListener('mouseover', show);
  text.addEventListener('focusin', show);
  text.addEventListener('click', show);
  text.addEventListener('mouseleave', hideTip);
  text.addEventListener('focusout', hideTip);
  // One stop for the Tab key; the arrows walk from token to token.
  text.addEventListener('keydown', event => {
    const to = { ArrowRight: 'nextElementSibling', ArrowLeft: 'previousElementSibling' }[event.key];
    const next = to && event.target[to];
    if (next?.classList.contains('token')) {
      event.preventDefault();
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    }
  });
}
document.addEventListener('keydown', event => event.key === 'Escape' && hideTip());

function addToken(run, choice) {
  const [token] = choice.early_exit;
  const element = document.createElement('span');
  element.className = 'token';
  element.textContent = choice.text;
  element.tabIndex = run.tokens.length === 0 ? 0 : -1;
  element.detail = { token, alternatives: choice.logprobs?.top_logprobs?.[0] ?? {} };
  paint(element, token.head);
  run.text.append(element);
  run.tokens.push(token);
  run.elements.push(element);
}

/** The data of server-sent events, one by one. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  while (true) {
    const { done, value } = await reader.read();
    if (done) {
      return;
    }
    const parts = (rest + value).split('\n\n');
    rest = parts.pop();
    for (const part of parts) {
      if (part.startsWith('data: ')) {
        yield part.slice(6);
      }
    }
  }
}

async function generate(run, signal) {
  run.text.replaceChildren();
  const given = document.createElement('span');
  given.className = 'given';
  given.textContent = $('prompt').value;
  run.text.append(given);
  const response = await fetch('v1/completions', {
    method: 'POST',
    headers: headers(),
    signal,
    body: JSON.stringify({
      model: model.id,
      prompt: $('prompt').value,
      max_tokens: Number($('tokens').value),
      temperature: Number($('temperature').value),
      seed: run.seed,
      logprobs: 5,
      stream: true,
      early_exit: { ...run.earlyExit, per_token: true },
    }),
  });
  if (!response.ok) {
    throw new Error(await reason(response));
  }
  for await (const data of events(response)) {
    if (data === '[DONE]') {
      return;
    }
    const part = JSON.parse(data);
    if (part.error) {
      throw new Error(part.error.message);
    }
    const choice = part.choices[0];
    if (choice?.early_exit?.length) {
      addToken(run, choice);
    } else if (choice?.text) {
      run.text.append(choice.text);
    }
    if (part.metrics) {
      run.seconds = part.metrics.seconds;
      run.whole = true;
    } else {
      run.seconds = (performance.now() - run.start) / 1000;
    }
    showFigures(run);
    showHistogram(run.pane, run.tokens);
  }
  throw new Error('the server closed the connection before the end');
}

function newRun(pane, earlyExit, seed) {
  return {
    pane,
    earlyExit,
    seed,
    text: document.querySelector(`#${pane} .text`),
    tokens: [],
    elements: [],
    seconds: 0,
    start: performance.now(),
    whole: false,
  };
}

/** How far the two texts are the same, and which was faster. */
function compare(early, full) {
  const length = Math.min(early.tokens.length, full.tokens.length);
  let same = 0;
  while (same < length && early.tokens[same].id === full.tokens[same].id) {
    same++;
  }
  let agreeing = 0;
  for (let i = 0; i < length; i++) {
    if (early.tokens[i].id === full.tokens[i].id) {
      agreeing++;
    }
  }
  const longer = Math.max(early.tokens.length, full.tokens.length);
  if (same < early.elements.length && same < longer) {
    early.elements[same]?.classList.add('differs');
    full.elements[same]?.classList.add('differs');
  }
  const faster = (full.seconds / full.tokens.length) / (early.seconds / early.tokens.length);
  $('verdict').textContent =
    `${faster.toFixed(2)} times the full model's speed at `
    + `${(100 * mean(early.tokens) / model.early_exit.layers).toFixed(0)} % of its depth; `
    + (same === longer
      ? 'the same text.'
      : `${Math.round(100 * agreeing / longer)} % of the tokens agree; the texts part at token ${same + 1}.`);
}

/** By the page's threshold, or by the options and the calibration that the server was started with. */
function howTokensLeave() {
  return $('own').checked
    ? {}
    : { policy: 'max-probability', threshold: Number($('threshold').value) };
}

async function go() {
  running = new AbortController();
  const { signal } = running;
  $('go').disabled = true;
  $('stop').disabled = false;
  $('verdict').textContent = '';
  hideTip();
  say('generating …');
  sessionStorage.setItem(KEY, $('key').value);
  const seed = Math.floor(Math.random() * 2 ** 31);
  const exits = model.early_exit.exits.length > 0;
  const early = newRun(
    exits ? 'early' : 'full',
    exits
      ? howTokensLeave()
      : { mode: 'full' },
    seed);
  try {
    await generate(early, signal);
    if (exits && $('compare').checked) {
      // One after the other: side by side they would take each other's time.
      const full = newRun('full', { mode: 'full' }, seed);
      await generate(full, signal);
      if (early.tokens.length && full.tokens.length) {
        compare(early, full);
      }
    }
    say('');
  } catch (error) {
    say(error.name === 'AbortError' ? 'stopped' : error.message, error.name !== 'AbortError');
  } finally {
    running = null;
    $('go').disabled = false;
    $('stop').disabled = true;
  }
}

/** One pane or two. */
function arrange() {
  const exits = model.early_exit.exits.length > 0;
  const both = exits && $('compare').checked;
  $('early').hidden = !exits;
  $('full').hidden = exits && !both;
  $('panes').classList.toggle('alone', !both);
}

form.addEventListener('submit', event => {
  event.preventDefault();
  if (!running && model) {
    go();
  } else if (!model) {
    start();
  }
});
$('stop').addEventListener('click', () => running?.abort());
$('compare').addEventListener('change', arrange);
$('threshold').addEventListener('input', () => {
  $('threshold-shown').textContent = Number($('threshold').value).toFixed(2);
});
for (const control of ['threshold', 'own']) {
  $(control).addEventListener('change', () => {
    $('threshold').disabled = $('own').checked;
    if (!running && model && document.querySelector('#early .token')) {
      go(); // compare at once
    }
  });
}
$('prompt').addEventListener('keydown', event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    form.requestSubmit();
  }
});
start();
