// The lens: exits by tokens. Each cell is what a head would have said of that token.

import { estimate, leavesAt, percent } from './decide.js';
import { make } from './settings.js';
import { draftWords, headName, quoted } from './view.js';

const box = document.getElementById('lens-box');
const details = document.getElementById('details');

let shown = null; // { lens, layers }
let rows = []; // the cells of each head

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

/** Shows what every head says of a run's text. */
export function showLens(run, side) {
  const { lens, layers } = run;
  shown = { lens, layers };
  const { heads, tokens } = lens;
  details.replaceChildren();
  rows = heads.map((head, h) => tokens.map((token, i) => {
    const said = token.heads[h];
    const cell = make('td', { role: 'gridcell', tabIndex: -1 });
    cell.textContent = label(said.top[0]);
    cell.append(make('small', {}, percent(said.confidence)));
    cell.style.setProperty('--sure', said.confidence.toFixed(3));
    cell.place = [h, i];
    return cell;
  }));
  rows[0][0].tabIndex = 0;
  const table = make('table', { role: 'grid', 'aria-label': 'First choices of exits by tokens' },
    make('thead', {}, make('tr', { role: 'row' },
      make('th', { scope: 'col', role: 'columnheader' }, 'text'),
      ...tokens.map(token => make('th', { scope: 'col', role: 'columnheader' }, label(token))))),
    make('tbody', {}, ...(run.drafts?.length ? [draftRow(run)] : []), ...heads.map((head, h) => make('tr', { role: 'row' },
      make('th', { scope: 'row', role: 'rowheader' }, headName(head)),
      ...rows[h]))));
  box.replaceChildren(table);
  recolour(side);
}

/** Puts frames where tokens would leave with a side's settings, and says what that comes to. */
export function recolour(side) {
  if (!shown) {
    return null;
  }
  const { lens, layers } = shown;
  lens.tokens.forEach((token, i) => {
    const leave = side ? leavesAt(token.heads, lens.heads, side) : null;
    lens.heads.forEach((head, h) => {
      const cell = rows[h][i];
      const off = token.heads[h].top[0].id !== token.heads.at(-1).top[0].id;
      const beyond = leave !== null && h > leave;
      cell.classList.toggle('off', off && !beyond);
      cell.classList.toggle('leaves', h === leave);
      cell.classList.toggle('beyond', beyond);
      cell.setAttribute('aria-label',
        `${quoted(token.heads[h].top[0])} by ${headName(head)}, ${percent(token.heads[h].confidence)} sure, `
        + `${off ? 'not the full model’s choice' : 'the full model’s choice'}`
        + `${h === leave ? ', the token leaves here' : beyond ? ', not asked' : ''}`);
    });
  });
  return side ? estimate(lens, side, layers) : null;
}

/** Each head's first choices for one token. */
export function openToken(index) {
  const token = shown?.lens.tokens[index];
  if (!token) {
    return;
  }
  const { heads } = shown.lens;
  const most = Math.max(...token.heads.map(head => head.top.length));
  const table = make('table', {},
    make('caption', {}, `Token ${index + 1} of ${shown.lens.tokens.length}: ${quoted(token)}`),
    make('thead', {}, make('tr', {}, ...heads.map(head => make('th', { scope: 'col' }, headName(head))))),
    make('tbody', {},
      ...Array.from({ length: most }, (_, rank) => make('tr', {}, ...token.heads.map(head =>
        make('td', {}, head.top[rank]
          ? `${quoted(head.top[rank])} ${(100 * Math.exp(head.top[rank].logprob)).toFixed(1)} %` : '')))),
      make('tr', {}, ...token.heads.map(head =>
        make('td', {}, `this token: ${(100 * Math.exp(head.logprob)).toFixed(1)} %`)))));
  details.replaceChildren(table);
}

function go(h, i) {
  const cell = rows[Math.max(0, Math.min(rows.length - 1, h))]?.[Math.max(0, Math.min(rows[0].length - 1, i))];
  box.querySelector('[tabindex="0"]').tabIndex = -1;
  cell.tabIndex = 0;
  cell.focus();
}

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
    Enter: () => openToken(i),
    ' ': () => openToken(i),
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
    openToken(place[1]);
  }
});
