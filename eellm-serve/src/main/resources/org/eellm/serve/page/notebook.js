// The notebook: runs that the browser keeps, their table and plot, and files of them.

import { curve } from './charts.js';
import { compareTurns, percent, plural } from './decide.js';
import { offer, savePlot } from './picture.js';
import { make, sideWords } from './settings.js';
import { depth } from './view.js';

const table = document.getElementById('runs');
const chart = document.getElementById('notebook-chart');
const file = document.getElementById('import-file');

let entries = []; // newest first
let page = {}; // what the page does: show and pin an entry, tell which run is pinned, and say what is wrong

export const entriesKept = () => entries;

const done = request => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

async function store(mode) {
  const opening = indexedDB.open('eellm', 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore('runs', { keyPath: 'id' });
  return (await done(opening)).transaction('runs', mode).objectStore('runs');
}

const slim = run => run && { ...run, lens: null }; // it is asked for again
const slimEntry = entry => ({ ...entry, a: slim(entry.a), b: slim(entry.b) });

/** Does something with what the browser keeps, and shows it. */
async function change(does) {
  try {
    await does();
  } catch (error) {
    page.wrong(`this browser keeps no runs: ${error.message}; save them as JSON`);
  }
  showNotebook();
}

/**
 * Shows the runs that the browser keeps.
 *
 * @param actions what the page does with them
 */
export async function openNotebook(actions) {
  page = actions;
  await change(async () => { entries = (await done((await store('readonly')).getAll())).filter(isEntry); });
}

/** Keeps an entry, in place of an earlier state of it. */
export async function remember(entry) {
  entries = [entry, ...entries.filter(other => other.id !== entry.id)];
  await change(async () => done((await store('readwrite')).put(slimEntry(entry))));
}

async function remove(entry) {
  entries = entries.filter(other => other !== entry);
  await change(async () => done((await store('readwrite')).delete(entry.id)));
}

/** Whether something is a run of this page: files and earlier versions may hold others. */
const isRun = run => typeof run?.settings?.prompt === 'string' && run.settings.a
  && typeof run.side?.mode === 'string' && Number.isFinite(run.layers) && Array.isArray(run.tokens) && Array.isArray(run.heads)
  && run.tokens.every(token => run.heads.includes(token.head) && Array.isArray(token.bytes));

const isEntry = entry => typeof entry?.id === 'string' && Number.isFinite(entry.when)
  && isRun(entry.a) && (entry.b === null || isRun(entry.b));

/**
 * The runs of an exported file.
 *
 * @throws Error that names the file if it has none
 */
async function readFile(file) {
  let read;
  try {
    read = JSON.parse(await file.text()).runs;
  } catch (error) {
    throw new Error(`${file.name}: no JSON: ${error.message}`);
  }
  if (!Array.isArray(read) || !read.every(isEntry)) {
    throw new Error(`${file.name}: has no runs of this page; choose a file that Export made`);
  }
  return read;
}

/** What the table says of a run; numbers that were not measured are null. */
function rowOf({ name, when, agreement, a, b }) {
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

function csvOf() {
  const rows = entries.map(rowOf);
  const names = Object.keys(rows[0] ?? {});
  return [names.join(','), ...rows.map(row => names.map(name => quotedCsv(row[name])).join(','))].map(line => `${line}\r\n`).join('');
}

/** Runs that were timed and whose agreement is known, as points by their numbers in the table. */
const pointsOf = () => entries.map(rowOf)
  .map((row, i) => ({ ...row, label: String(entries.length - i) }))
  .filter(row => row.ratio !== null && row.agreement !== null);

/** Draws the plot of timed runs; none where none was timed. */
function drawPlot() {
  const points = pointsOf();
  chart.replaceChildren(...(points.length ? [curve(points, chart.clientWidth || 640, 'the right side')] : []));
}

/** Shows all of it, as after another run has been pinned. */
export function showNotebook() {
  const { activeElement: focused } = document;
  const label = table.contains(focused) ? focused.getAttribute('aria-label') : null;
  entries.sort((one, other) => other.when - one.when);
  drawPlot();
  table.hidden = entries.length === 0;
  const number = (value, digits) => (value === null ? '–' : value.toFixed(digits));
  table.replaceChildren(
    make('thead', {}, make('tr', {}, ...['No.', 'Name', 'Prompt', 'Left', 'Right', 'Tokens', 'Depth', 'Agree', 'Speed']
      .map(name => make('th', { scope: 'col' }, name)))),
    make('tbody', {}, ...entries.map((entry, i) => {
      const row = rowOf(entry);
      const no = entries.length - i;
      const pinned = page.pinned() === entry.a;
      const name = make('input', { type: 'text', value: row.name, placeholder: 'unnamed', 'aria-label': `Name of run ${no}` });
      name.addEventListener('change', () => remember(Object.assign(entry, { name: name.value })));
      const button = (text, does, attributes = {}) => {
        const element = make('button', { type: 'button', className: 'light', 'aria-label': `${text} run ${no}`, ...attributes }, text);
        element.addEventListener('click', () => does(entry));
        return element;
      };
      return make('tr', {},
        make('th', { scope: 'row' }, String(no)),
        make('td', {}, name, make('div', { className: 'do' }, button('Show', page.show),
          button(pinned ? 'Unpin' : 'Pin', page.pin, { 'aria-pressed': String(pinned) }), button('Delete', remove))),
        make('td', { className: 'words' }, row.prompt.slice(0, 80)), make('td', { className: 'words' }, row.left), make('td', { className: 'words' }, row.right ?? '–'),
        make('td', {}, String(row.tokens)), make('td', {}, `${number(row.depth, 2)} of ${row.layers}`),
        make('td', {}, row.agreement === null ? '–' : percent(row.agreement)),
        make('td', {}, row.ratio === null ? '–' : `${number(row.ratio, 2)} (${number(row.least, 2)} to ${number(row.most, 2)})`));
    })));
  const again = [...table.querySelectorAll('[aria-label]')].find(element => element.getAttribute('aria-label') === label);
  if (again) { // neither the focus nor what is being typed is lost
    again.value = focused.value;
    again.focus();
  }
}

const on = (id, does) => document.getElementById(id).addEventListener('click', does);
on('export', () => offer('eellm-notebook.json', `${JSON.stringify({ runs: entries.map(slimEntry) }, null, 1)}\n`, 'application/json'));
on('import', () => file.click());
on('csv', () => offer('eellm-notebook.csv', csvOf(), 'text/csv'));
on('notebook-svg', () => (chart.firstChild ? savePlot(chart.firstChild, 'eellm-notebook.svg')
  : page.wrong('no run of the notebook has been timed without others in between; Generate times')));
on('delete-all', () => {
  if (confirm(`Delete ${plural(entries.length, 'run')} from this browser?`)) {
    entries = [];
    change(async () => done((await store('readwrite')).clear()));
  }
});
file.addEventListener('change', async () => {
  try {
    for (const entry of await readFile(file.files[0])) {
      await remember(entry);
    }
  } catch (error) {
    page.wrong(error.message);
  }
  file.value = '';
});
