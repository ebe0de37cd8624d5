// A conversation: its earlier turns, which can be edited, and what else was asked at a place.

import { make, turnsOf } from './settings.js';

const list = document.getElementById('turn-list');
const field = document.getElementById('turns');
const prompt = document.getElementById('prompt');

const changed = () => field.dispatchEvent(new Event('input', { bubbles: true }));

function set(turns) {
  field.value = JSON.stringify(turns);
  changed();
}

/** The text of a run, without its prompt. */
const answerOf = run => run.tokens.map(token => token.piece).join('') + (run.rest ?? '');

/** Goes on after a run's answer: both become earlier turns. */
export function goOn(run) {
  prompt.value = '';
  set([...turnsOf(run.settings), { role: 'user', content: run.settings.prompt }, { role: 'assistant', content: answerOf(run) }]);
  prompt.focus();
}

const messagesOf = settings => [...turnsOf(settings), { role: 'user', content: settings.prompt }];

/** Kept runs whose conversation is the same up to a turn, and goes another way there; a run for each way. */
function branches(entries, turns, place) {
  const before = JSON.stringify(turns.slice(0, place));
  const ways = new Map();
  for (const entry of entries.filter(({ a }) => a.settings.chat)) {
    const other = messagesOf(entry.a.settings);
    if (other[place] && JSON.stringify(other.slice(0, place)) === before && other[place].content !== turns[place].content) {
      ways.set(other[place].content, ways.get(other[place].content) ?? entry);
    }
  }
  return [...ways];
}

/**
 * Shows the turns before the prompt.
 *
 * @param entries the notebook's
 * @param onShow is given an entry that goes another way
 */
export function showTurns(settings, entries, onShow) {
  const turns = turnsOf(settings);
  list.replaceChildren(...turns.map((turn, i) => {
    const who = turn.role === 'user' ? 'You' : 'Model';
    const text = make('textarea', { rows: 2, value: turn.content, spellcheck: false, 'aria-label': `${who}, turn ${i + 1}` });
    text.addEventListener('change', () => set(turns.with(i, { ...turn, content: text.value })));
    const back = make('button', { type: 'button', className: 'light', hidden: turn.role !== 'user' }, 'Ask this anew');
    back.addEventListener('click', () => {
      prompt.value = text.value;
      set(turns.slice(0, i));
      prompt.focus();
    });
    const others = branches(entries, turns, i).map(([words, entry]) => {
      const other = make('button', { type: 'button', className: 'light' }, `Or: ${words.slice(0, 24)}`);
      other.addEventListener('click', () => onShow(entry));
      return other;
    });
    return make('li', {}, make('strong', {}, who), text, make('div', { className: 'buttons' }, back, ...others));
  }));
}
