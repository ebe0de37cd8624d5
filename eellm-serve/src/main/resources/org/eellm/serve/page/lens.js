// The lens: exits by tokens. Each cell is what a head would have said of that token.

import { leavesAt, percent } from './decide.js';
import { make } from './settings.js';
import { draftWords, headName, paint, quoted } from './view.js';

const box = document.getElementById('lens-box');

let shown = null; // the run
let rows = []; // the cells of each head
let names = []; // the cells above them
let leave = []; // for each token the place of the head at which it leaves
let marked = -1; // the token that is open
let opens = () => {};

/** Calls back with a token's place when one is opened. */
export const onOpen = callback => { opens = callback; };

const shortened = text => (text.length > 12 ? `${text.slice(0, 11)}…` : text);
/** A token as it fits a cell: blanks and ends of lines have signs, other letters without a glyph are escaped. */
const label = token => {
  const text = token.token.replaceAll('\n', '⏎').replaceAll(' ', '␣');
  return shortened(token.bytes.length && /^[^\p{C}\p{Z}\uFFFD]+$/u.test(text) ? text : quoted(token));
};

/** What was drafted, and by whom, above what heads say; nothing where nothing was. */
function draftRow(run) {
  return make('tr', { role: 'row', className: 'drafts' },
    make('th', { scope: 'row', role: 'rowheader' }, 'drafts'),
    ...run.tokens.map(({ draft }) => {
      const cell = make('td', { role: 'gridcell', className: draft ? (draft.held ? 'held' : 'off') : '' });
      if (draft) {
        cell.textContent = label(draft.token);
        cell.append(make('small', {}, `${draft.by === 'text' ? 'text' : headName(draft.by)} ${draft.held ? '✓' : '✗'}`));
        cell.setAttribute('aria-label', draftWords(draft));
      }
      return cell;
    }));
}

const isOff = (token, h) => token.heads[h].top[0].id !== token.heads.at(-1).top[0].id;

/** Shows what every head says of a run's text. */
export function showLens(run, side) {
  shown = run;
  marked = -1;
  const { heads, tokens } = run.lens;
  leave = [];
  rows = heads.map((head, h) => tokens.map((token, i) => {
    const said = token.heads[h];
    const cell = make('td', { role: 'gridcell', tabIndex: -1 });
    cell.textContent = label(said.top[0]);
    cell.append(make('small', {}, percent(said.confidence)));
    cell.style.setProperty('--sure', said.confidence.toFixed(3));
    cell.classList.toggle('off', isOff(token, h));
    cell.place = [h, i];
    return cell;
  }));
  names = tokens.map(token => make('th', { scope: 'col', role: 'columnheader' }, label(token)));
  rows[0][0].tabIndex = 0;
  const table = make('table', { role: 'grid', 'aria-label': 'First choices of exits by tokens' },
    make('thead', {}, make('tr', { role: 'row' }, make('th', { scope: 'col', role: 'columnheader' }, 'text'), ...names)),
    make('tbody', {}, ...(run.drafts?.length ? [draftRow(run)] : []), ...heads.map((head, h) => {
      const name = make('th', { scope: 'row', role: 'rowheader' }, make('span', {}, headName(head)));
      paint(name.firstChild, head, heads, 'exit', 'mark');
      return make('tr', { role: 'row' }, name, ...rows[h]);
    })));
  box.replaceChildren(table);
  recolour(side);
}

/** Puts frames where tokens would leave with a side's settings; touches only what changes. */
export function recolour(side) {
  if (!shown) {
    return;
  }
  const { heads, tokens } = shown.lens;
  tokens.forEach((token, i) => {
    const at = side ? leavesAt(token.heads, heads, side) : null;
    if (at !== leave[i]) {
      leave[i] = at;
      rows.forEach((row, h) => {
        row[i].classList.toggle('leaves', h === at);
        row[i].classList.toggle('beyond', at !== null && h > at);
      });
    }
  });
}

function spoken([h, i]) {
  const token = shown.lens.tokens[i];
  const said = token.heads[h];
  return `${quoted(said.top[0])} by ${headName(shown.lens.heads[h])}, ${percent(said.confidence)} sure, `
    + `${isOff(token, h) ? 'not the full model’s choice' : 'the full model’s choice'}`
    + `${h === leave[i] ? ', the token leaves here' : leave[i] !== null && h > leave[i] ? ', not asked' : ''}`;
}

/** Marks a token's column, and scrolls to it within the lens; nothing is marked for -1. */
export function markColumn(index) {
  for (const row of [names, ...rows]) {
    row[marked]?.classList.remove('open');
    row[index]?.classList.add('open');
  }
  marked = index;
  if (names[index]) {
    box.scrollLeft = names[index].offsetLeft - box.clientWidth / 2;
  }
}

function go(h, i) {
  const cell = rows[Math.max(0, Math.min(rows.length - 1, h))][Math.max(0, Math.min(rows[0].length - 1, i))];
  box.querySelector('[tabindex="0"]').tabIndex = -1;
  cell.tabIndex = 0;
  cell.focus();
  if (marked >= 0 && marked !== cell.place[1]) { // what is open goes along
    opens(cell.place[1]);
  }
}

box.addEventListener('focusin', ({ target }) => target.place && target.setAttribute('aria-label', spoken(target.place)));
box.addEventListener('keydown', event => {
  const place = event.target.place;
  if (!place) {
    return;
  }
  const [h, i] = place;
  const move = {
    ArrowRight: () => go(h, i + 1),
    ArrowLeft: () => go(h, i - 1),
    ArrowDown: () => go(h + 1, i),
    ArrowUp: () => go(h - 1, i),
    Home: () => go(h, 0),
    End: () => go(h, rows[0].length - 1),
    Enter: () => opens(i),
    ' ': () => opens(i),
  }[event.key];
  if (move) {
    event.preventDefault();
    move();
  }
});
box.addEventListener('click', event => {
  const place = event.target.closest('td')?.place;
  if (place) {
    go(...place);
    opens(place[1]);
  }
});
