// What follows from stored figures, without asking anybody: where tokens would leave, how often
// that is the full model's choice, and what a number of timed turns allows to say.

const layerOf = (head, layers) => (head === 'final' ? layers : Number(head.slice(5)));

/** The names of a model's heads, shallowest first. */
export const headsOf = exits => [...exits.map(layer => `exit_${layer}`), 'final'];

/** A head's place on the scale of colours, from 0 for the shallowest exit to 1. */
export const onScale = (head, heads) =>
  (head === 'final' ? 1 : heads.indexOf(head) / Math.max(1, heads.length - 2));

/** What a calibration says: its policy, and thresholds for the only exits that are asked. */
export const calibrated = ({ calibration, thresholds }) =>
  ({ policy: calibration, thresholds, exits: Object.keys(thresholds).map(Number) });

export const leavesEarly = mode => ['early-exit', 'recompute', 'propagate'].includes(mode);

/** Whether a figure meets a threshold, by the figure's scale. */
const MEETS = {
  confidence: (figure, threshold) => threshold < 1 && figure >= threshold,
  uncertainty: (figure, threshold) => threshold > 0 && figure <= threshold,
};

/** Whether a token leaves by a policy without a threshold. */
const LEAVES = {
  patience(head, earlier, side) {
    const others = side.patience - 1;
    return earlier.length >= others && earlier.slice(earlier.length - others)
      .every(other => other.top[0].id === head.top[0].id);
  },
  fixed: () => true,
  full: () => false,
};

/** What a policy with a threshold compares, of what a head says. */
const figure = (head, policy) => head[policy.replaceAll('-', '_')];

/**
 * A side's settings, the server's own where it decides, with the scale of the policy's figure.
 *
 * @param early_exit what the server says of it
 * @return null if where tokens leave cannot be computed here
 */
export function effective(side, { defaults, policies, calibration }) {
  const settings = side.mode === 'server' ? ofServer(defaults, policies) : side;
  if (!settings || !leavesEarly(settings.mode)) {
    return settings;
  }
  if (settings.policy === 'calibrated' && calibration) {
    return { ...settings, scale: calibration.scale, exits: Object.keys(calibration.thresholds).map(Number) };
  }
  const { scale, threshold, number, [number]: usual } = policies[settings.policy] ?? {};
  return scale in MEETS || Object.hasOwn(LEAVES, settings.policy)
    ? { ...settings, scale, threshold: settings.threshold ?? threshold, ...(number && { [number]: settings[number] ?? usual }) }
    : null;
}

function ofServer(defaults, policies) {
  const { policy, threshold, exits, mode, threshold_decay: decay } = defaults;
  if (defaults.temperatures || defaults.calibration === 'gate' || decay) {
    return null;
  }
  if (defaults.calibration) {
    return { mode: mode ?? 'early-exit', ...calibrated(defaults) };
  }
  const leaves = policy || threshold !== undefined || exits || Object.values(policies).some(({ number }) => number in defaults);
  return {
    ...defaults,
    mode: mode ?? (leaves ? 'early-exit' : 'speculative'),
    policy: policy ?? 'max-probability',
    threshold: typeof threshold === 'number' ? threshold : undefined,
    thresholds: typeof threshold === 'object' ? threshold : {},
    exits: exits ?? [],
  };
}

/**
 * The place among the heads at which a token leaves.
 *
 * @param said by each head: the policies' figures, and its first choices
 * @param side as `effective` gives it
 */
export function leavesAt(said, heads, side) {
  const last = heads.length - 1;
  if (!leavesEarly(side.mode)) {
    return last;
  }
  const earlier = [];
  for (let i = 0; i < last; i++) {
    const layer = layerOf(heads[i]);
    if (side.exits.length && !side.exits.includes(layer)) {
      continue;
    }
    const head = said[i];
    if (side.scale
      ? MEETS[side.scale](figure(head, side.policy), side.thresholds[layer] ?? side.threshold)
      : LEAVES[side.policy](head, earlier, side)) {
      return i;
    }
    earlier.push(head);
  }
  return last;
}

/**
 * What settings would come to on a text that every head has been asked about.
 *
 * @param side as `effective` gives it
 * @return the head of each token, their mean layer, and how many make the full model's choice
 */
export function estimate(lens, side, layers) {
  const places = lens.tokens.map(token => leavesAt(token.heads, lens.heads, side));
  const depth = places.reduce((sum, place) => sum + layerOf(lens.heads[place], layers), 0) / places.length;
  const right = lens.tokens.filter((token, i) =>
    token.heads[places[i]].top[0].id === token.heads.at(-1).top[0].id).length;
  return { places, depth, right, tokens: places.length };
}

/**
 * Thresholds that are worth a measurement: one that lets nothing leave, and some that let more and
 * more of a text's tokens leave early.
 *
 * @param side as `effective` gives it, with a policy that has a threshold
 */
export function telling(lens, side) {
  const asked = lens.heads.slice(0, -1).map((head, h) => h)
    .filter(h => !side.exits.length || side.exits.includes(layerOf(lens.heads[h])));
  const low = side.scale === 'uncertainty';
  const best = lens.tokens.map(({ heads }) => {
    const figures = asked.map(h => figure(heads[h], side.policy));
    return low ? Math.min(...figures) : Math.max(...figures);
  }).sort((a, b) => (low ? a - b : b - a));
  const rounded = value => (low ? Math.ceil(1000 * value) / 1000 : Math.min(.999, Math.floor(1000 * value) / 1000));
  const some = [.2, .4, .6, .8, 1].map(share => rounded(best[Math.ceil(share * best.length) - 1]));
  return [...new Set([low ? 0 : 1, ...some])];
}

/**
 * Speed at a depth, from two that were timed; nothing where they do not differ enough in depth.
 *
 * @return seconds for each token
 */
export function timeAtDepth(depth, timed) {
  const [one, other] = timed;
  if (!one || !other || Math.abs(one.depth - other.depth) < 0.5) {
    return null;
  }
  const slope = (one.seconds - other.seconds) / (one.depth - other.depth);
  const seconds = one.seconds + slope * (depth - one.depth);
  return seconds > 0 ? seconds : null;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** A turn that takes this many times its side's median says that something else ran. */
const BUSY = 2;

/** A share of the time in which the server waited for a processor that is worth a word. */
const WAITED = .2;

/** Fewer turns say nothing: of nine like ones, all fall on one side of 1 in one case of 256. */
export const FEWEST_TURNS = 9;

/** With so many turns one pause of the machine's does not count: the ends are left out. */
const TURNS_TO_LEAVE_OUT = 15;

/**
 * How fast one side is beside the other, from turns taken alternately.
 *
 * @param turns seconds for each token of both, {a, b}
 * @return the middle ratio with the smallest and the largest that count, whether that spread is
 *     clear of 1, and whether the machine seems to have been busy
 */
export function compareTurns(turns) {
  const ratios = turns.map(turn => turn.b / turn.a).sort((a, b) => a - b);
  const leftOut = turns.length >= TURNS_TO_LEAVE_OUT ? 1 : 0;
  const slowest = Math.max(...['a', 'b'].map(side => {
    const seconds = turns.map(turn => turn[side]).sort((a, b) => b - a);
    return seconds[leftOut] / median(seconds);
  }));
  const least = ratios[leftOut];
  const most = ratios.at(-1 - leftOut);
  return {
    turns: turns.length,
    counted: turns.length - 2 * leftOut,
    ratio: median(ratios),
    least,
    most,
    clear: turns.length >= FEWEST_TURNS && (least > 1 || most < 1),
    slowest,
    busy: slowest > BUSY,
  };
}

const two = number => number.toFixed(2);

/** That in words; no ratio is claimed of a busy machine, or where the spread covers 1. */
export function speedSentence(result, a, b) {
  const counted = result.counted < result.turns ? `the middle ${result.counted} of ` : '';
  const spread = `${two(result.least)} to ${two(result.most)} in ${counted}${plural(result.turns, 'turn')}`;
  if (result.busy) {
    return `No verdict about speed: something else ran, a turn took ${result.slowest.toFixed(1)} times the usual (${spread}).`;
  }
  return result.clear
    ? `${a} has ${two(result.ratio)} times the speed of ${b} (${spread}).`
    : `No difference in speed that could be told (${spread}).`;
}

/** What else ran meanwhile, in words; nothing where nothing did. */
export function loadSentence({ others, waited }) {
  return (others > 0 ? ' The server had other texts in work meanwhile.' : '')
    + (waited > WAITED ? ` The machine was busy: it kept the server waiting for a processor ${percent(waited)} of its time.` : '');
}

/** Where two texts part: the number of tokens that they begin with alike. */
export function commonTokens(a, b) {
  let same = 0;
  while (same < Math.min(a.length, b.length) && a[same].id === b[same].id) {
    same++;
  }
  return same;
}

export const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;
export const percent = share => `${Math.round(100 * share)} %`;
