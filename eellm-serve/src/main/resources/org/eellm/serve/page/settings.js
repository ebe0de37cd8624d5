// The form's settings: read, checked, filled in, put into the address and into words.

import { calibrated, leavesEarly } from './decide.js';

const MODES = {
  'speculative': 'Drafts, lossless',
  'early-exit': 'Early exit',
  'recompute': 'Early exit, recomputed',
  'propagate': 'Early exit, propagated',
  'full': 'Full model',
  'server': 'As the server is set',
};
let policies = {}; // the server's, by name
let calibration = null; // the model's own

const SIDE = {
  mode: 'early-exit', policy: 'max-probability', threshold: 0.9, thresholds: {}, exits: [],
  draftSource: 'both', draftExit: null, draftLength: null, draftConfidence: null,
};

export const DEFAULTS = {
  prompt: 'Once upon a time', lines: false, chat: false, system: '', turns: '[]', tokens: 64, temperature: 0, seed: null, topP: 1, topK: 0, minP: 0,
  repetition: 1, presence: 0, frequency: 0, stop: '', schema: '', compare: true,
  a: SIDE, b: { ...structuredClone(SIDE), mode: 'speculative' }, // which loses nothing; no object in both: clones would have it in both
};

/** A policy's usual threshold, for when it is chosen; undefined where it has none. */
export const usualThreshold = policy => policies[policy]?.threshold;

/** A policy's thresholds by exit, where its usual ones differ. */
export const usualThresholds = policy =>
  (policy === 'calibrated' && new Set(Object.values(calibration.thresholds)).size > 1 ? calibration.thresholds : {});

const hasThreshold = side => leavesEarly(side.mode) && usualThreshold(side.policy) !== undefined;
const numberOf = policy => policies[policy]?.number; // the name of the number that it takes
const isUncertainty = policy => policies[policy]?.scale === 'uncertainty';

/** The largest threshold to choose from. */
export const mostThreshold = policy => (isUncertainty(policy) ? 6 * usualThreshold(policy) : 1);

/** An element with attributes and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) {
      continue;
    }
    if (name in element && name !== 'list' && name !== 'role') {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? '' : value);
    }
  }
  element.append(...children);
  return element;
}

function field(id, key, name, input, note) {
  input.id = id;
  input.dataset.key = key;
  return make('div', { className: 'control' },
    make('label', { htmlFor: id }, name), input, ...(note ? [make('small', {}, note)] : []));
}

const number = (min, max, step, attributes = {}) =>
  make('input', { type: 'number', min, max, step, inputMode: 'decimal', ...attributes });

const select = options => make('select', {},
  ...Object.entries(options).map(([value, text]) => make('option', { value }, text)));

/** Puts the controls of a side into its fieldset; the left threshold stands above the text, to be dragged. */
export function buildSide(box, name, model) {
  const { exits, defaults } = model.early_exit;
  calibration = model.early_exit.calibration ?? null;
  policies = { ...model.early_exit.policies };
  if (calibration) {
    policies.calibrated = { scale: calibration.scale, threshold: Object.values(calibration.thresholds)[0], description: `the calibration's ${calibration.policy} is sure enough` };
  }
  const choices = Object.keys(policies).filter(policy => policy !== 'full'); // which the mode full is
  const modes = exits.length ? MODES : { speculative: MODES.speculative, full: MODES.full, server: MODES.server };
  const id = part => (name === 'a' ? part : `${part}-b`);
  const key = part => `${name}.${part}`;
  const range = make('input', { type: 'range', min: 0, max: 1, step: 0.01, id: id('threshold') });
  range.dataset.key = key('threshold');
  const threshold = make('div', { className: 'control wide threshold-control' },
    make('label', { htmlFor: range.id }, 'Threshold ', make('output', { htmlFor: range.id, className: 'shown' })),
    range,
    make('small', { className: 'meaning' }));
  const boxes = exits.map(layer => {
    const input = make('input', { type: 'checkbox', id: id(`exit-${layer}`), value: layer });
    input.dataset.key = key('exits');
    return make('span', { className: 'check' }, input, make('label', { htmlFor: input.id }, `exit ${layer}`));
  });
  const each = exits.map(layer =>
    field(id(`threshold-${layer}`), key(`thresholds.${layer}`), `at exit ${layer}`, number(0, null, 'any')));
  const take = make('button', { type: 'button', className: 'light' }, 'Use the calibrated thresholds');
  take.addEventListener('click', () => {
    const { policy, thresholds, exits: asked } = calibrated(defaults);
    box.querySelector('[data-key$=policy]').value = policy;
    box.querySelector('[data-key$=policy]').dispatchEvent(new Event('input', { bubbles: true }));
    boxes.forEach(({ firstChild: input }) => { input.checked = asked.includes(Number(input.value)); });
    box.querySelectorAll('.each input').forEach(input => { input.value = thresholds[input.dataset.key.split('.').at(-1)] ?? ''; });
    box.querySelector('[data-key$=policy]').dispatchEvent(new Event('change', { bubbles: true }));
  });
  const counts = choices.filter(numberOf).map(policy => {
    const { number: count, meaning, [count]: usual } = policies[policy];
    DEFAULTS[name][count] = usual;
    return field(id(count), key(count), meaning.replace(/^./, first => first.toUpperCase()), number(1, null, 1));
  });
  const left = name === 'a';
  if (left) {
    document.getElementById('drag-threshold').replaceChildren(threshold);
  }
  box.replaceChildren(
    make('legend', {}, left ? 'Left' : 'Right'),
    field(id('mode'), key('mode'), 'Decoding', select(modes)),
    field(id('policy'), key('policy'), 'Policy', select(Object.fromEntries(choices.map(policy => [policy, policy === 'calibrated' ? `calibrated: ${calibration.policy}` : policy])))),
    ...(left ? [] : [threshold]),
    ...counts,
    make('details', { className: 'exits' }, make('summary', {}, 'Exits, and a threshold for each'),
      make('div', { className: 'controls small which' }, ...boxes),
      make('div', { className: 'controls small each' }, ...each),
      ...(defaults.calibration && defaults.calibration !== 'gate' && !defaults.temperatures ? [take] : [])),
    make('details', { className: 'drafts' }, make('summary', {}, 'Drafts'),
      make('div', { className: 'controls small' },
        field(id('draft-source'), key('draftSource'), 'From', select({ both: 'exits and the text', exits: 'exits', text: 'the text' })),
        field(id('draft-exit'), key('draftExit'), 'Exit', select({ '': 'chosen', ...Object.fromEntries(exits.map(layer => [layer, `exit ${layer}`])) })),
        field(id('draft-length'), key('draftLength'), 'Length', number(1, 16, 1, { placeholder: 'chosen' })),
        field(id('draft-confidence'), key('draftConfidence'), 'Ends below a margin of', number(0, 1, 'any', { placeholder: 'chosen' })))),
    make('small', { className: 'server' }, `The server: ${serverWords(defaults)}`));
}

const byExit = numbers => Object.entries(numbers).map(([layer, value]) => `${value} at exit ${layer}`).join(', ');

/** The server's own settings, in words. */
export function serverWords(defaults) {
  const words = Object.entries(defaults).map(([setting, value]) =>
    `${setting.replaceAll('_', ' ')} ${typeof value === 'object' && !Array.isArray(value) ? byExit(value) : value}`);
  return words.join(', ') || 'lossless drafts, its default';
}

/** Shows only what has an effect. */
export function arrangeSide(box, side, range) {
  const show = (selector, shown) => {
    const element = box.querySelector(selector);
    (element.closest('.control') ?? element).hidden = !shown;
  };
  const early = leavesEarly(side.mode);
  show('[data-key$=policy]', early);
  const threshold = range.closest('.control');
  threshold.hidden = !hasThreshold(side);
  Object.keys(policies).filter(numberOf)
    .forEach(policy => show(`[data-key$=".${numberOf(policy)}"]`, early && side.policy === policy));
  show('.exits', early);
  show('.which', side.policy !== 'calibrated');
  if (early && side.policy === 'fixed') {
    box.querySelector('.exits').open = true; // one has to be chosen there
  }
  show('.each', hasThreshold(side));
  show('.drafts', side.mode === 'speculative');
  show('.server', side.mode === 'server');
  const each = haveOwn(side);
  range.disabled = each;
  range.max = mostThreshold(side.policy);
  range.value = side.threshold;
  threshold.querySelector('.shown').textContent = each ? '' : Number(side.threshold).toFixed(2);
  threshold.querySelector('.meaning').textContent = each ? 'Each exit has its own, in the settings.'
    : `A token leaves at the first exit where ${policies[side.policy]?.description}. `
      + (isUncertainty(side.policy) ? '0: never.' : '0: always at the first. 1: never.');
}

const controls = () => document.querySelectorAll('[data-key]');

function at(object, path) {
  return path.split('.').reduce(
    (inner, part) => (inner && Object.hasOwn(inner, part) ? inner[part] : undefined), object);
}

function put(object, path, value) {
  const parts = path.split('.');
  const last = parts.pop();
  parts.reduce((inner, part) => (inner[part] ??= {}), object)[last] = value;
}

const nameOf = input => document.querySelector(`label[for="${input.id}"]`).firstChild.textContent.trim();

function valueOf(input) {
  const text = input.value.trim();
  const optional = input.placeholder !== '' || input.dataset.key.includes('thresholds.');
  if (text === '' && !input.validity.badInput && optional) {
    return null;
  }
  const value = Number(text);
  const whole = input.step === '1';
  if (text === '' || !Number.isFinite(value) || whole && !Number.isInteger(value)
    || input.min !== '' && value < Number(input.min) || input.max !== '' && value > Number(input.max)) {
    const range = input.max === '' ? `of ${input.min} or more` : `from ${input.min} to ${input.max}`;
    throw Object.assign(
      new Error(`${nameOf(input)}: ${text === '' ? 'nothing' : text} is no ${whole ? 'whole ' : ''}number ${range}`),
      { input });
  }
  return value;
}

/**
 * What the form says.
 *
 * @throws Error that names a field whose value is none, with that field as its input
 */
export function read() {
  const settings = structuredClone(DEFAULTS);
  settings.a.exits = [];
  settings.b.exits = [];
  for (const input of controls()) {
    const path = input.dataset.key;
    const unseen = input.closest('[hidden]') && path.includes('.');
    if (path.endsWith('.exits')) {
      if (input.checked) {
        at(settings, path).push(Number(input.value));
      }
    } else if (input.type === 'checkbox') {
      put(settings, path, input.checked);
    } else if (input.type === 'number') {
      try {
        const value = valueOf(input);
        if (value !== null || !path.includes('thresholds.')) {
          put(settings, path, value);
        }
      } catch (error) {
        if (!unseen) {
          throw error;
        }
      }
    } else if (input.type === 'range') {
      put(settings, path, Number(input.value));
    } else {
      put(settings, path, path.endsWith('draftExit') ? (input.value ? Number(input.value) : null) : input.value);
    }
  }
  for (const side of [settings.a, settings.b]) { // all exits is the same as none said
    const all = document.querySelectorAll('#side-a [data-key="a.exits"]').length;
    if (side.exits.length === all) {
      side.exits = [];
    }
  }
  return settings;
}

/** Fills the form in. */
export function write(settings) {
  for (const input of controls()) {
    const path = input.dataset.key;
    const value = at(settings, path);
    if (path.endsWith('.exits')) {
      input.checked = !value.length || value.includes(Number(input.value));
    } else if (input.type === 'checkbox') {
      input.checked = value;
    } else {
      if (input.type === 'range') {
        input.max = mostThreshold(at(settings, path.replace('threshold', 'policy')));
      }
      if (path.endsWith('.policy') && ![...input.options].some(option => option.value === value)) {
        input.add(new Option(value, value)); // of a link; the server says that it has none such
      }
      input.value = value ?? '';
    }
  }
}

function flat(settings, prefix = '') {
  return Object.entries(settings).flatMap(([name, value]) =>
    value !== null && typeof value === 'object' && !Array.isArray(value)
      ? flat(value, `${prefix}${name}.`)
      : [[prefix + name, value]]);
}

/** The settings as the part of an address behind #: those that are not the usual ones. */
export function toLink(settings) {
  const link = new URLSearchParams();
  for (const [path, value] of flat(settings)) {
    const usual = at(DEFAULTS, path);
    if (JSON.stringify(value) !== JSON.stringify(usual ?? null)) {
      link.set(path, Array.isArray(value) ? value.join(',') : String(value));
    }
  }
  return link.toString();
}

/** The settings of an address; what is none of ours is left out. */
export function fromLink(text) {
  const settings = structuredClone(DEFAULTS);
  for (const [path, value] of new URLSearchParams(text)) {
    const usual = at(DEFAULTS, path);
    const ofExit = /^[ab]\.thresholds\.\d+$/.test(path);
    if (usual === undefined && !ofExit) {
      continue;
    }
    const isNumber = ofExit || typeof usual === 'number' || usual === null;
    if (Array.isArray(usual)) {
      put(settings, path, value.split(',').map(Number).filter(Number.isFinite));
    } else if (typeof usual === 'boolean') {
      put(settings, path, value === 'true');
    } else if (isNumber) {
      if (value !== '' && Number.isFinite(Number(value))) {
        put(settings, path, Number(value));
      }
    } else if (typeof usual === 'string') {
      put(settings, path, value);
    }
  }
  return settings;
}

/** What a request says of early exits. */
export function earlyExit(side) {
  if (side.mode === 'server') {
    return {};
  }
  if (side.mode === 'full') {
    return { mode: 'full' };
  }
  if (side.mode === 'speculative') {
    const fixed = side.draftExit !== null || side.draftLength !== null || side.draftConfidence !== null;
    return {
      mode: 'speculative',
      ...(fixed ? {} : { draft_source: side.draftSource, draft_memory: 'own' }), // texts are timed again
      ...(side.draftExit !== null ? { draft_exit: side.draftExit } : {}),
      ...(side.draftLength !== null ? { draft_length: side.draftLength } : {}),
      ...(side.draftConfidence !== null ? { draft_margin: side.draftConfidence } : {}),
    };
  }
  const each = Object.keys(side.thresholds).length > 0;
  return {
    mode: side.mode,
    ...(side.policy === 'calibrated' ? { calibrated: true } : { policy: side.policy }),
    ...(hasThreshold(side) && !each ? { threshold: side.threshold } : {}),
    ...(hasThreshold(side) && each ? { threshold: thresholdsOf(side) } : {}),
    ...(numberOf(side.policy) ? { [numberOf(side.policy)]: side[numberOf(side.policy)] } : {}),
    ...(side.exits.length && side.policy !== 'calibrated' ? { exits: side.exits } : {}),
  };
}

const layersOf = side => (side.policy === 'calibrated' && calibration ? Object.keys(calibration.thresholds).map(Number) : side.exits.length ? side.exits
  : [...document.querySelectorAll('#side-a [data-key="a.exits"]')].map(input => Number(input.value)));

/** Whether each exit in use has a threshold of its own, so that the common one is for none. */
const haveOwn = side => layersOf(side).every(layer => layer in side.thresholds);

/** A threshold for each exit in use: the common one where none of its own is given. */
const thresholdsOf = side =>
  Object.fromEntries(layersOf(side).map(layer => [layer, side.thresholds[layer] ?? side.threshold]));

/** The body of a request, but for its early exits. */
export function requestBody(settings, modelName, seed) {
  return {
    model: modelName,
    ...promptOf(settings),
    max_tokens: settings.tokens,
    temperature: settings.temperature,
    seed,
    ...(settings.topP !== 1 ? { top_p: settings.topP } : {}),
    ...(settings.topK ? { top_k: settings.topK } : {}),
    ...(settings.minP ? { min_p: settings.minP } : {}),
    ...(settings.repetition !== 1 ? { repetition_penalty: settings.repetition } : {}),
    ...(settings.presence ? { presence_penalty: settings.presence } : {}),
    ...(settings.frequency ? { frequency_penalty: settings.frequency } : {}),
    ...(settings.stop ? { stop: settings.stop.split('\n').filter(text => text) } : {}),
    ...(settings.schema ? { response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: JSON.parse(settings.schema) } } } : {}),
  };
}

export const pathOf = settings => (settings.chat ? 'v1/chat/completions' : 'v1/completions');

/** Earlier messages of a conversation; none where a link has something else there. */
export function turnsOf({ turns }) {
  try {
    return JSON.parse(turns).filter(turn => typeof turn.role === 'string' && typeof turn.content === 'string');
  } catch {
    return [];
  }
}

export const promptOf = settings => (settings.chat
  ? { messages: [...(settings.system ? [{ role: 'system', content: settings.system }] : []), ...turnsOf(settings), { role: 'user', content: settings.prompt }] }
  : { prompt: settings.prompt });

const wrong = (input, message) => Object.assign(new Error(message), { input });

/** What is wrong with settings that each are in their range, with the field that says so; undefined if nothing is. */
export function contradiction(settings) {
  const field = key => document.querySelector(`[data-key="${key}"]`);
  if (!settings.prompt) {
    return wrong(field('prompt'), 'Prompt: it is empty; give at least one character');
  }
  for (const name of settings.compare ? ['a', 'b'] : ['a']) {
    const side = settings[name];
    if (leavesEarly(side.mode) && side.policy === 'fixed' && layersOf(side).length !== 1) {
      return wrong(field(`${name}.exits`), `${name === 'a' ? 'Left' : 'Right'}: all tokens leave at one fixed exit; tick just one under Exits`);
    }
  }
  try {
    JSON.parse(settings.schema || '{}');
  } catch (error) {
    return wrong(field('schema'), `JSON Schema: no JSON: ${error.message}`);
  }
}

/** A side in words. */
export function sideWords(side) {
  const name = MODES[side.mode];
  if (side.mode === 'speculative') {
    const asked = [
      side.draftExit !== null ? `exit ${side.draftExit}` : '',
      side.draftLength !== null ? `length ${side.draftLength}` : '',
      side.draftConfidence !== null ? `margin ${side.draftConfidence}` : '',
    ].filter(text => text).join(', ');
    return asked ? `${name}: ${asked}` : side.draftSource === 'both' ? name : `${name} from ${side.draftSource}`;
  }
  if (!leavesEarly(side.mode)) {
    return name;
  }
  const sign = isUncertainty(side.policy) ? '≤' : '≥';
  const common = haveOwn(side) ? '' : side.threshold.toFixed(2);
  const rule = hasThreshold(side)
    ? `${side.policy} ${sign} ${[common, byExit(side.thresholds)].filter(text => text).join(', ')}`
    : [side.policy, side[numberOf(side.policy)]].join(' ').trim();
  const exits = side.exits.length && (common || !hasThreshold(side)) ? `, exits ${side.exits.join(', ')}` : '';
  return `${name}: ${rule}${exits}`;
}

/** What both sides share, in words. */
export function samplingWords(settings, seed) {
  const drawn = settings.temperature > 0 ? [`temperature ${settings.temperature}`, `seed ${seed}`] : ['greedy'];
  if (settings.temperature > 0 && settings.topP !== 1) {
    drawn.push(`top-p ${settings.topP}`);
  }
  if (settings.temperature > 0 && settings.topK) {
    drawn.push(`top-k ${settings.topK}`);
  }
  if (settings.temperature > 0 && settings.minP) {
    drawn.push(`min-p ${settings.minP}`);
  }
  for (const name of ['repetition', 'presence', 'frequency']) {
    if (settings[name] !== DEFAULTS[name]) {
      drawn.push(`${name} ${settings[name]}`);
    }
  }
  if (settings.chat) {
    drawn.push('chat');
  }
  if (settings.schema) {
    drawn.push('held to a schema');
  }
  return drawn.join(', ');
}
