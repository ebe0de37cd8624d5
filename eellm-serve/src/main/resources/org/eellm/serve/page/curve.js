// Speed and agreement by threshold: some thresholds, each timed beside the full model.

import { curve } from './charts.js';
import { compareTurns, estimate, loadSentence, percent, plural, telling } from './decide.js';
import { make } from './settings.js';
import { takeTurns } from './timing.js';

const CURVE_TURNS = 9;
const chart = document.getElementById('curve-chart');
const numbers = document.getElementById('curve-table');
let drawn = [];

function show() {
  if (!drawn.length) {
    return;
  }
  chart.replaceChildren(curve(drawn, chart.clientWidth, 'the full model'));
  numbers.replaceChildren(
    make('thead', {}, make('tr', {}, ...['threshold', 'agree', 'mean depth', 'speed', 'least to most'].map(name => make('th', { scope: 'col' }, name)))),
    make('tbody', {}, ...drawn.map(point => make('tr', {},
      make('th', { scope: 'row' }, point.label),
      ...[percent(point.agreement), point.depth.toFixed(2), point.ratio.toFixed(2), `${point.least.toFixed(2)} to ${point.most.toFixed(2)}`]
        .map(value => make('td', {}, value))))));
}

addEventListener('resize', show);

/** What has been measured of the text that is shown. */
export const measured = () => drawn;

export function clearCurve() {
  drawn = [];
  chart.replaceChildren();
  numbers.replaceChildren();
}

/**
 * Times thresholds and draws as they come.
 *
 * @param reference a run whose text is the full model's, with its lens
 * @param sideAt a side's settings for a threshold
 * @param tell is given what is being done, and at last what was found
 */
export async function measureCurve(run, reference, full, sideAt, signal, tell) {
  clearCurve();
  const thresholds = telling(reference.lens, sideAt());
  const loads = [];
  for (const threshold of thresholds) {
    const side = sideAt(threshold);
    tell(`threshold ${threshold}, ${drawn.length + 1} of ${thresholds.length} …`);
    const { turns, load } = await takeTurns(run, side, full, CURVE_TURNS, signal, () => {});
    const { right, tokens, depth } = estimate(reference.lens, side, reference.layers);
    loads.push(load);
    drawn.push({ label: String(threshold), agreement: right / tokens, depth, ...compareTurns(turns) });
    show();
  }
  const [never] = drawn;
  const { policy, exits } = sideAt();
  const load = { others: Math.max(...loads.map(each => each.others)), waited: Math.max(...loads.map(each => each.waited)) };
  tell((never.least > 1 || never.most < 1 || drawn.some(point => point.busy)
    ? `Not to be trusted: something else ran. At threshold ${never.label}, where nothing leaves early, the speed was ${never.least.toFixed(2)} to ${never.most.toFixed(2)} times the full model's.`
    : `${policy}${exits.length ? `, exits ${exits.join(', ')}` : ''}; ${plural(CURVE_TURNS, 'turn')} for each threshold, this prompt. Agreement is given the full model's text.`) + loadSentence(load));
}
