// What the page's own arithmetic says of given figures; prints it as JSON.
const [base] = process.argv.slice(2);
const source = await (await fetch(`${base}/decide.js`)).text();
const { compareTurns, speedSentence, loadSentence, leavesAt, telling, timeAtDepth, commonTokens, effective } =
  await import(`data:text/javascript,${encodeURIComponent(source)}`);

const turns = (as, bs) => as.map((a, i) => ({ a, b: bs[i] }));
const say = (as, bs) => speedSentence(compareTurns(turns(as, bs)), 'A', 'B');
const head = (sure, id, margin = 0, entropy = 9) => ({ max_probability: sure, margin, entropy, top: [{ id }] });
const heads = ['exit_1', 'exit_2', 'exit_4', 'final'];
const said = [head(.3, 7, .1, 2), head(.6, 8, .5, 1), head(.9, 8, .8, .2), head(.8, 8)];
const { data: [model] } = await (await fetch(`${base}/v1/models`)).json();
const { policies } = model.early_exit;
const side = (more = {}) => effective(
  { mode: 'early-exit', policy: 'max-probability', threshold: .5, thresholds: {}, exits: [], patience: 2, ...more }, { policies });
const ofServer = defaults => effective({ mode: 'server' }, { defaults, policies });

/** The heads at which the tokens of a text leave, as the server has it and as the page does. */
async function leaves(policy) {
  const post = async (path, body) => (await (await fetch(`${base}${path}`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ prompt: 'the cat and', ...body }),
  })).json());
  const generate = async settings => (await post('/v1/completions', {
    max_tokens: 20, temperature: 0, early_exit: { ...settings, per_token: true },
  })).choices[0].early_exit;
  const lens = tokens => post('/v1/lens', { continuation: tokens.map(token => token.id), top: 1 });
  const own = side({ policy, exits: policy === 'fixed' ? [2] : [] });
  if (own === null) {
    return [[], 'the page does not know it; add it to LEAVES of decide.js'];
  }
  if (own.scale) {
    own.threshold = telling(await lens(await generate({ mode: 'full' })), own)[3]; // some leave, some do not
  }
  const tokens = await generate({
    mode: 'early-exit', policy,
    ...(own.scale ? { threshold: own.threshold } : {}),
    ...(own.exits.length ? { exits: own.exits } : {}),
  });
  const said = await lens(tokens);
  return [tokens.map(token => token.head), said.tokens.map(token => said.heads[leavesAt(token.heads, said.heads, own)])];
}

// Ten identical runs on a quiet machine, each with some noise.
let state = 1;
const noise = () => { state = state * 16807 % 2147483647; return 1 + .04 * (state / 2147483647 - .5); };
const same = Array.from({ length: 10 }, () => compareTurns(turns(
  Array.from({ length: 19 }, noise), Array.from({ length: 19 }, noise))));
const nine = [1, 1.01, .99, 1, 1.02, 1, 1, 1.01, 1];
const twice = (...seconds) => [...seconds, ...seconds];

console.log(JSON.stringify({
  faster: say(nine, [1.5, 1.52, 1.49, 1.5, 1.5, 1.51, 1.48, 1.5, 1.51]),
  same: say(nine, [1, .99, 1.02, 1, 1.01, 1, 1, 1, 1]),
  few: say(nine.slice(2), nine.slice(2).map(() => 2)),
  busy: say([...nine.slice(1), 7], nine.map(() => 2)),
  onePause: say(twice(...nine).with(3, 7), twice(...nine).map(() => 1.5)),
  twoPauses: say(twice(...nine).with(3, 7).with(8, 7), twice(...nine).map(() => 1.5)),
  waited: [loadSentence({ others: 0, waited: .1 }), loadSentence({ others: 1, waited: .43 })],
  spreadsCover: same.every(one => one.least < 1 && one.most > 1),
  claims: same.filter(one => one.clear).length,
  leaves: {
    half: leavesAt(said, heads, side()),
    one: leavesAt(said, heads, side({ threshold: 1 })),
    zero: leavesAt(said, heads, side({ threshold: 0 })),
    deepExit: leavesAt(said, heads, side({ threshold: 0, exits: [4] })),
    each: leavesAt(said, heads, side({ thresholds: { 1: .2 } })),
    margin: leavesAt(said, heads, side({ policy: 'margin', threshold: .7 })),
    entropy: leavesAt(said, heads, side({ policy: 'entropy', threshold: 1 })),
    patience: leavesAt(said, heads, side({ policy: 'patience', patience: 2 })),
    patienceOfOne: leavesAt(said, heads, side({ policy: 'patience', patience: 1 })),
    patienceOfThree: leavesAt(said, heads, side({ policy: 'patience', patience: 3 })),
    fixed: leavesAt(said, heads, side({ policy: 'fixed', exits: [2] })),
    full: leavesAt(said, heads, side({ mode: 'full' })),
    calibrated: leavesAt([.2, .9, .6].map(calibrated => ({ calibrated })), heads, effective(
      { mode: 'early-exit', policy: 'calibrated', threshold: .5, thresholds: {}, exits: [] },
      { policies, calibration: { policy: 'gate', scale: 'confidence', thresholds: { 1: .8, 4: .8 } } })),
  },
  between: timeAtDepth(6, [{ depth: 12, seconds: 2 }, { depth: 4, seconds: 1 }]),
  notBetween: timeAtDepth(6, [{ depth: 12, seconds: 2 }, { depth: 11.9, seconds: 1 }]),
  common: commonTokens([{ id: 1 }, { id: 2 }, { id: 3 }], [{ id: 1 }, { id: 2 }, { id: 4 }]),
  serverDefault: ofServer({}).mode,
  serverThreshold: ofServer({ threshold: .4 }),
  serverMargin: ofServer({ policy: 'margin' }),
  serverCalibrated: ofServer({ calibration: 'margin', thresholds: { 2: .3 } }),
  serverTempered: ofServer({ calibration: 'margin', thresholds: { 2: .3 }, temperatures: { 2: .5 } }),
  serverGated: ofServer({ calibration: 'gate', thresholds: { 2: .3 } }),
  unknown: side({ policy: 'none-such' }),
  policies: Object.fromEntries(await Promise.all(Object.keys(policies).map(async policy => [policy, await leaves(policy)]))),
}));
