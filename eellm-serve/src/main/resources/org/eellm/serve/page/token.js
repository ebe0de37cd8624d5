// One token, opened in place: where it left, who drafted it, and what every head would have said.

import { make } from './settings.js';
import { draftWords, headName, hideTip, paint, quoted } from './view.js';

const pane = document.getElementById('token');
const facts = document.getElementById('token-facts');
const heads = document.getElementById('token-heads');

let open = null; // { name, run, index }

export const openedToken = () => open;

const share = logprob => `${(100 * Math.exp(logprob)).toFixed(1)} %`;

function factsOf(run, index) {
  const token = run.tokens[index];
  const entries = [['left at', `${headName(token.head)}, layer ${token.layer} of ${run.layers}`]];
  if (token.logprob !== undefined) {
    entries.push(['this token', share(token.logprob)]);
  }
  if (token.draft || token.drafted) {
    entries.push(['draft', token.draft ? draftWords(token.draft) : 'accepted by the full model']);
  }
  entries.push(['written', `after ${Math.round(token.at)} ms${index ? `, ${(token.at - run.tokens[index - 1].at).toFixed(1)} behind the last` : ''}`]);
  return entries.map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value)));
}

/** Each head's first choices, with the token's own where it is not among them; a line a head, so that all of them fit a phone. */
function rowsOf(run, index) {
  const { id, heads: said } = run.lens.tokens[index];
  const final = said.at(-1).top[0].id;
  return run.lens.heads.map((head, h) => {
    const name = make('th', { scope: 'row' }, headName(head));
    paint(name, head, run.lens.heads, 'exit', 'mark');
    return make('tr', { className: head === run.tokens[index].head ? 'leaves' : '' }, name,
      make('td', {}, ...said[h].top.map(choice =>
        make('span', { className: `choice${choice.id === final ? ' right' : ''}${choice.id === id ? ' own' : ''}` }, `${quoted(choice)} ${share(choice.logprob)}`)),
      ...(said[h].top.some(choice => choice.id === id) ? [] : [make('small', {}, `this token ${share(said[h].logprob)}`)])));
  });
}

/** Shows a token of a side's run; what heads say follows once the server has told. */
export function openToken(name, run, index) {
  open = { name, run, index };
  hideTip();
  pane.hidden = false;
  pane.querySelector('h2').textContent = `Token ${index + 1} of ${run.tokens.length}: ${quoted(run.tokens[index])}`;
  facts.replaceChildren(...factsOf(run, index));
  heads.replaceChildren(...(run.lens ? rowsOf(run, index)
    : [make('tr', {}, make('td', {}, 'What every head says comes once the text is written.'))]));
}

export function closeToken() {
  open = null;
  pane.hidden = true;
}
