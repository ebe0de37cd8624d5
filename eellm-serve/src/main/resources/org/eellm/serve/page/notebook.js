// The notebook: runs that the browser keeps, their table and plot, and files of them.

import { curve } from './charts.js';
import { compareTurns, percent } from './decide.js';
import { make, sideWords } from './settings.js';
import { depth } from './view.js';

const table = document.getElementById('runs');
const chart = document.getElementById('notebook-chart');

const done = request => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

async function store(mode) {
  const opening = indexedDB.open('eellm', 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore('runs', { keyPath: 'id' });
  return (await done(opening)).transaction('runs', mode).objectStore('runs');
}

/** All kept runs, newest first. */
export const keptRuns = async () => (await done((await store('readonly')).getAll())).sort((one, other) => other.when - one.when);

const slim = run => run && { ...run, lens: null }; // it is asked for again

export const keep = async entry => done((await store('readwrite')).put({ ...entry, a: slim(entry.a), b: slim(entry.b) }));
export const forget = async id => done((await store('readwrite')).delete(id));
export const forgetAll = async () => done((await store('readwrite')).clear());

/**
 * The runs of an exported file.
 *
 * @throws Error that names the file if it has none
 */
export async function readFile(file) {
  let entries;
  try {
    entries = JSON.parse(await file.text()).runs;
  } catch (error) {
    throw new Error(`${file.name}: no JSON: ${error.message}`);
  }
  const isRun = run => typeof run?.settings?.prompt === 'string' && run.settings.a && Array.isArray(run.tokens)
    && Array.isArray(run.heads) && run.tokens.every(token => run.heads.includes(token.head) && Array.isArray(token.bytes));
  if (!Array.isArray(entries) || !entries.every(entry => typeof entry?.id === 'string' && isRun(entry.a) && (entry.b === null || isRun(entry.b)))) {
    throw new Error(`${file.name}: has no runs of this page; choose a file that Export made`);
  }
  return entries;
}

/** What the table says of a run; numbers that were not measured are null. */
export function rowOf({ name, when, agreement, a, b }) {
  const speed = a.turns ? compareTurns(a.turns) : null;
  const trusted = speed && !speed.busy;
  return {
    name, when: new Date(when).toISOString(), model: a.model, prompt: a.settings.prompt,
    left: sideWords(a.side), right: b ? sideWords(b.side) : null, tokens: a.tokens.length,
    depth: a.tokens.length ? depth(a) : null, layers: a.layers, agreement: agreement ?? null,
    ratio: trusted ? speed.ratio : null, least: trusted ? speed.least : null, most: trusted ? speed.most : null,
  };
}

const quotedCsv = value => (value === null ? '' : typeof value === 'number' ? String(value)
  : `"${(/^[=+\-@\t\r]/.test(value) ? `'${value}` : value).replaceAll('"', '""')}"`); // no formulas

export function csvOf(entries) {
  const rows = entries.map(rowOf);
  const names = Object.keys(rows[0] ?? {});
  return [names.join(','), ...rows.map(row => names.map(name => quotedCsv(row[name])).join(','))].map(line => `${line}\r\n`).join('');
}

/** Runs that were timed and whose agreement is known, as points by their numbers in the table. */
const pointsOf = entries => entries.map(rowOf)
  .map((row, i) => ({ ...row, label: String(entries.length - i) }))
  .filter(row => row.ratio !== null && row.agreement !== null);

/** Draws the plot of timed runs; none where none was timed. */
function drawPlot(entries) {
  const points = pointsOf(entries);
  chart.replaceChildren(...(points.length ? [curve(points, chart.clientWidth || 640)] : []));
}

/**
 * Shows the runs.
 *
 * @param pinned the run that stays on the right
 * @param act what to do with an entry: show, pin, rename, remove
 */
export function showNotebook(entries, pinned, act) {
  drawPlot(entries);
  table.hidden = entries.length === 0;
  const number = (value, digits) => (value === null ? '–' : value.toFixed(digits));
  table.replaceChildren(
    make('thead', {}, make('tr', {}, ...['No.', 'Name', 'Prompt', 'Left', 'Right', 'Tokens', 'Depth', 'Agree', 'Speed']
      .map(name => make('th', { scope: 'col' }, name)))),
    make('tbody', {}, ...entries.map((entry, i) => {
      const row = rowOf(entry);
      const no = entries.length - i;
      const name = make('input', { type: 'text', value: row.name, placeholder: 'unnamed', 'aria-label': `Name of run ${no}` });
      name.addEventListener('change', () => act.rename(entry, name.value));
      const button = (text, does, attributes = {}) => {
        const element = make('button', { type: 'button', className: 'light', 'aria-label': `${text} run ${no}`, ...attributes }, text);
        element.addEventListener('click', () => does(entry));
        return element;
      };
      return make('tr', {},
        make('th', { scope: 'row' }, String(no)),
        make('td', {}, name, make('div', { className: 'do' }, button('Show', act.show),
          button(pinned === entry.a ? 'Unpin' : 'Pin', act.pin, { 'aria-pressed': String(pinned === entry.a) }), button('Delete', act.remove))),
        make('td', { className: 'words' }, row.prompt.slice(0, 80)), make('td', { className: 'words' }, row.left), make('td', { className: 'words' }, row.right ?? '–'),
        make('td', {}, String(row.tokens)), make('td', {}, `${number(row.depth, 2)} of ${row.layers}`),
        make('td', {}, row.agreement === null ? '–' : percent(row.agreement)),
        make('td', {}, row.ratio === null ? '–' : `${number(row.ratio, 2)} (${number(row.least, 2)} to ${number(row.most, 2)})`));
    })));
}
