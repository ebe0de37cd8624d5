// Uses the page as a person would, in Chromium, one scenario a run; prints what is to be seen as
// JSON. Screenshots go to a folder, if one is named.
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { chromium } from 'playwright-core';

const [base, executablePath, scenario, link, folder] = process.argv.slice(2);
const PROMPT = 'the cat and';
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const seen = { errors: [] };

async function open(options = {}, hash = link || `prompt=${encodeURIComponent(PROMPT)}&tokens=20&a.mode=early-exit&a.threshold=0.02`) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, ...options });
  page.setDefaultTimeout(120000); // a busy machine keeps the browser waiting as well
  page.on('pageerror', error => seen.errors.push(String(error)));
  page.on('console', message => message.type() === 'error' && seen.errors.push(message.text()));
  page.on('request', request => {
    if (!request.url().startsWith(base) && !request.url().startsWith('blob:')) {
      seen.errors.push(`asked ${request.url()}`);
    }
  });
  await page.goto(`${base}/#${hash}`);
  return page;
}

const known = page => page.waitForSelector('#legend li');
const message = page => page.textContent('#message');
const done = page => page.waitForFunction(() => /^done/.test(document.querySelector('#message').textContent), null, { timeout: 120000 }); // twice what a burden takes
const failed = page => page.waitForSelector('#message.wrong', { timeout: 60000 });
const shot = (page, name) => folder && page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });

/** Moves the left threshold as a person does: some moves, then the end of them. */
const move = (page, value) => page.$eval('#threshold', (slider, to) => {
  slider.value = to;
  slider.dispatchEvent(new Event('input', { bubbles: true }));
  slider.dispatchEvent(new Event('change', { bubbles: true }));
}, value);

const pane = (page, name) => page.$eval(`#pane-${name}`, box => ({
  title: box.querySelector('h2').textContent,
  made: box.querySelector('.made').textContent,
  text: box.querySelector('.text').textContent,
  end: box.querySelector('.end').textContent,
  tokens: box.querySelectorAll('.text .token').length,
  invisible: [...box.querySelectorAll('.text .token')].filter(token => token.textContent === '' && !token.dataset.shown).length,
  spoken: box.querySelector('.text .token')?.getAttribute('aria-label') ?? '',
  marks: new Set([...box.querySelectorAll('.text .token')].map(token => getComputedStyle(token).borderBottomColor)).size,
  counts: [...box.querySelectorAll('.histogram .count')].map(count => count.textContent.split(' ')[0]),
  figures: [...box.querySelectorAll('.figures dt')].map(term => term.textContent),
  drawings: box.querySelectorAll('.course svg').length,
}));

/** Keeps all processors busy, for a minute at most; ends with what it returns. */
function burden() {
  const spins = Array.from({ length: 3 * availableParallelism() }, () =>
    new Worker('const end = Date.now() + 60000; while (Date.now() < end);', { eval: true }));
  return () => Promise.all(spins.map(spin => spin.terminate()));
}

/** The heads at which the lens frames tokens. */
const frames = page => page.$$eval('#lens-box tbody tr', rows => rows.map(row => row.querySelectorAll('td.leaves').length));

const scenarios = {
  /** Pages of other sites: one whose name comes to mean this machine after it was loaded, and one of another port. */
  async foreign() {
    const { port } = new URL(base);
    const away = await chromium.launch({ executablePath, args: ['--no-sandbox', '--host-resolver-rules=MAP rebound.example 127.0.0.1',
      '--disable-features=LocalNetworkAccessChecks'] }); // new browsers guard loopback themselves; older ones do not
    const generated = async () => (await (await fetch(`${base}/metrics`)).text())
      .split('\n').filter(line => line.startsWith('eellm_generated_tokens_total')).join();
    seen.own = (await fetch(`${base}/v1/completions`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ prompt: PROMPT, max_tokens: 1 }),
    })).status;
    seen.before = await generated();
    const visit = async (origin, script, argument) => {
      const page = await away.newPage();
      await page.route(`${origin}/attack`, route => route.fulfill({ contentType: 'text/html', body: '<p>attack' }));
      await page.goto(`${origin}/attack`);
      return page.evaluate(script, argument);
    };
    const attack = async target => {
      const body = JSON.stringify({ prompt: 'the cat', max_tokens: 2 });
      const seen = [];
      for (const [path, options] of [
        ['/v1/models', {}],
        ['/metrics', {}],
        ['/v1/completions', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body }],
        ['/v1/completions', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body }],
        ['/v1/completions', { method: 'POST', mode: 'no-cors', body }],
      ]) {
        try {
          const answer = await fetch(target + path, options);
          seen.push(`${answer.status} ${(await answer.text()).includes('not_allowed') ? 'refused' : ''}`.trim());
        } catch {
          seen.push('kept from the page');
        }
      }
      return seen;
    };
    seen.rebound = await visit(`http://rebound.example:${port}`, attack, '');
    seen.others = await visit('http://rebound.example:1', attack, base);
    seen.after = await generated();
    await away.close();
  },

  async writes() {
    const page = await open();
    await known(page);
    seen.about = await page.textContent('#about');
    seen.legend = await page.$$eval('#legend li', items => items.map(item => item.textContent));
    await page.waitForFunction(() => document.querySelector('#count').textContent);
    seen.count = await page.textContent('#count');
    seen.mostTokens = await page.$eval('#tokens', field => field.max);
    await page.click('#go');
    await done(page);
    seen.a = await pane(page, 'a');
    seen.b = await pane(page, 'b');
    seen.verdict = await page.textContent('#verdict');
    seen.agreement = await page.textContent('#agreement');
    await page.selectOption('#lens-of', 'a');
    seen.frames = await frames(page);
    seen.cells = await page.$$eval('#lens-box td', cells => cells.length);
    await shot(page, 'desktop-light');

    // The same figure, reckoned from what the server says of the full model's text.
    const ids = await page.$$eval('#pane-b .token', tokens => tokens.map(each => each.token.id));
    const lens = await (await fetch(`${base}/v1/lens`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ prompt: PROMPT, continuation: ids, top: 1 }),
    })).json();
    seen.agree = lens.tokens.filter(({ heads }) => {
      const left = heads.slice(0, -1).find(head => head.confidence >= .02) ?? heads.at(-1);
      return left.top[0].id === heads.at(-1).top[0].id;
    }).length;

    // The slider frames anew from what is known, before anything is asked.
    const asked = [];
    page.on('request', request => asked.push(request.url()));
    await page.$eval('#threshold', slider => {
      slider.value = 0;
      slider.dispatchEvent(new Event('input', { bubbles: true }));
    });
    seen.framesAtOnce = await frames(page);
    seen.estimate = await page.textContent('#estimate');
    seen.askedMeanwhile = asked.filter(url => url.includes('/v1/')).length;

    await page.hover('#pane-a .token >> nth=2');
    seen.tip = await page.textContent('#tip');
    seen.tipAsSeen = await page.innerText('#tip'); // without blanks that collapse
    await page.focus('#pane-a .token >> nth=0');
    await page.setViewportSize({ width: 700, height: 900 });
    await page.waitForFunction(() => document.documentElement.clientWidth <= 700);
    await page.waitForFunction(() => { // it goes with its token
      const box = document.querySelector('#tip').getBoundingClientRect();
      const token = document.querySelector('.token.chosen').getClientRects()[0];
      return Math.min(Math.abs(box.top - token.bottom), Math.abs(box.bottom - token.top)) < 12;
    });
    await page.focus('#go');
    seen.tipGone = await page.isHidden('#tip');
    await page.click('#pane-a .token >> nth=2');
    seen.details = await page.$$eval('#details thead th', heads => heads.map(head => head.textContent));
    seen.firstFive = await page.$$eval('#details tbody tr', rows => rows.length);

    // What is saved is whole.
    const [json] = await Promise.all([page.waitForEvent('download'), page.click('#save-json')]);
    const saved = JSON.parse(await readFile(await json.path(), 'utf8'));
    seen.savedTokens = saved.left.tokens.length;
    seen.savedThreshold = saved.left.settings.a.threshold;
    const [svg] = await Promise.all([page.waitForEvent('download'), page.click('#save-svg')]);
    const picture = await readFile(await svg.path(), 'utf8');
    if (folder) {
      await svg.saveAs(`${folder}/picture.svg`);
    }
    seen.picture = await page.evaluate(text => {
      const parsed = new DOMParser().parseFromString(text, 'image/svg+xml');
      return { broken: parsed.querySelector('parsererror') !== null, texts: parsed.querySelectorAll('text').length, styled: text.includes('style=') };
    }, picture);
  },

  /** The page as it opens, without a word of how to decode. */
  async opens() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=20`);
    await known(page);
    await page.evaluate(() => {
      globalThis.said = [];
      new MutationObserver(() => globalThis.said.push(document.querySelector('#message').textContent))
        .observe(document.querySelector('#message'), { childList: true });
    });
    await page.click('#go');
    await done(page);
    seen.a = await pane(page, 'a');
    seen.b = await pane(page, 'b');
    seen.said = await page.evaluate(() => globalThis.said);
    seen.verdict = await page.textContent('#verdict');
    seen.agreement = await page.textContent('#agreement');
    seen.estimate = await page.textContent('#estimate');
    seen.lensOf = await page.$eval('#lens-of', list => list.value);
    seen.address = await page.evaluate(() => location.hash);
    await page.selectOption('#mode', 'early-exit');
    await done(page);
    seen.early = (await pane(page, 'a')).title;
  },

  async repeats() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=60&a.mode=full`);
    await known(page);
    seen.verdicts = [];
    seen.texts = [];
    seen.asked = [];
    for (let i = 0; i < 10; i++) {
      let asked = 0;
      const count = request => { asked += request.url().endsWith('/v1/completions'); };
      page.on('request', count);
      await page.click('#go');
      await done(page);
      page.off('request', count);
      seen.asked.push(asked);
      seen.verdicts.push(await page.textContent('#verdict'));
      seen.texts.push((await pane(page, 'a')).text, (await pane(page, 'b')).text);
    }
  },

  async busy() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=80&a.mode=early-exit&a.threshold=0.02`);
    await known(page);

    // Somebody else's text, once, while turns are taken.
    let asked = 0;
    await page.route('**/v1/completions', async route => {
      if (++asked === 12) {
        const body = JSON.parse(route.request().postData());
        await fetch(route.request().url(), { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
      }
      await route.continue();
    });
    await page.click('#go');
    await done(page);
    seen.others = await page.textContent('#verdict');
    await page.unroute('**/v1/completions');

    await page.click('#go'); // while the browser, too, has a processor
    const release = burden();
    await done(page);
    await release();
    seen.verdict = await page.textContent('#verdict');
  },

  async drafts() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=24&a.mode=speculative&a.draftExit=2&a.draftLength=3&a.draftConfidence=0`);
    await known(page);
    await page.click('#go');
    await done(page);
    seen.a = await pane(page, 'a');
    await page.selectOption('#lens-of', 'a');
    seen.held = await page.$$eval('#lens-box tr.drafts td.held', cells => cells.length);
    seen.off = await page.$$eval('#lens-box tr.drafts td.off', cells => cells.map(cell => cell.getAttribute('aria-label')));
    seen.drafted = await page.$$eval('#pane-a .token.drafted', tokens => tokens.length);
    await page.focus('#pane-a .token.refused');
    seen.tip = await page.textContent('#tip');
    seen.mode = await page.$eval('#mode', list => list.value);
  },

  async restarts() {
    const page = await open();
    await known(page);
    let release;
    let held = new Promise(resolve => { release = resolve; });
    let holding = true;
    await page.route('**/v1/completions', async route => {
      if (holding) {
        await held;
      }
      await route.continue().catch(() => {}); // given up by then
    });
    await page.click('#go');
    await page.waitForFunction(() => /left/.test(document.querySelector('#message').textContent));
    holding = false;
    seen.meanwhile = await pane(page, 'b');
    await move(page, 0); // while the run goes on
    release();
    await done(page);
    seen.moved = await pane(page, 'a');
    seen.address = await page.evaluate(() => location.hash);

    // The comparison switched off and on shows nothing of another run.
    await page.uncheck('#compare');
    await page.click('#go');
    await done(page);
    await page.check('#compare');
    seen.afterSwitch = await pane(page, 'b');
    seen.verdictAfterSwitch = await page.textContent('#verdict');

    // A reload keeps settings and texts.
    await page.click('#go');
    await done(page);
    const before = await pane(page, 'a');
    await page.reload();
    await page.waitForSelector('#pane-a .token');
    const after = await pane(page, 'a');
    seen.kept = before.text === after.text && before.made === after.made;
    seen.runs = await page.$$eval('#runs li', items => items.length);

    // A pinned run stays on the right, and speed is not compared with it.
    await page.click('#runs li >> nth=0 >> text=Pin');
    await page.selectOption('#mode', 'full');
    await done(page);
    await page.waitForFunction(() => document.querySelector('#verdict').textContent);
    seen.pinned = { a: (await pane(page, 'a')).title, b: (await pane(page, 'b')).title, verdict: await page.textContent('#verdict') };
  },

  async refuses() {
    const page = await open();
    await known(page);
    await page.click('#go');
    await done(page);

    // Fields say what is wrong with them.
    await page.fill('#temperature', '');
    await page.click('#go');
    await failed(page);
    seen.empty = await message(page);
    await page.fill('#temperature', '0.75');
    await page.click('summary >> text=Sampling');
    await page.fill('#seed', '5');
    await page.click('#go');
    await done(page);
    seen.drawn = (await pane(page, 'a')).made;

    // A refusal leaves nothing of what was there before, and takes no more than its words.
    await page.fill('#prompt', 'the cat '.repeat(2000));
    await page.click('#go');
    await failed(page);
    seen.refusal = await message(page);
    seen.refused = { a: await pane(page, 'a'), b: await pane(page, 'b'), verdict: await page.textContent('#verdict') };
    seen.refusedHeight = await page.$eval('#panes', box => box.offsetHeight);

    // Nobody there, in plain words.
    await page.fill('#prompt', 'the cat and');
    await page.route('**/v1/completions', route => route.abort());
    await page.click('#go');
    await page.waitForFunction(() => /nobody/.test(document.querySelector('#message').textContent));
    seen.nobody = await message(page);
    await page.unroute('**/v1/completions');

    // Another name since the page was opened: it asks again.
    await page.evaluate(() => { document.querySelector('#about').textContent = ''; });
    let first = true;
    await page.route('**/v1/completions', async route => {
      const body = JSON.parse(route.request().postData());
      await route.continue(first ? { postData: JSON.stringify({ ...body, model: 'old' }) } : {});
      first = false;
    });
    await page.click('#go');
    await done(page);
    seen.renamed = await page.textContent('#about');

    // Stop frees the server; the page stays usable.
    await page.fill('#tokens', '60');
    await page.click('#go');
    await page.click('#stop');
    await page.waitForFunction(() => document.querySelector('#stop').getAttribute('aria-disabled') === 'true');
    await page.fill('#tokens', '8');
    await page.click('#go');
    await done(page);
    seen.afterStop = (await pane(page, 'a')).tokens;
  },

  /** More tokens than fit behind a prompt, and prompts that leave no room. */
  async tight() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=80&compare=false&a.mode=full`);
    await known(page);
    const counted = words => page.waitForFunction(text => document.querySelector('#count').textContent.includes(text), words);
    const blamed = () => page.$$eval('[aria-invalid]', fields => fields.map(field => field.id));
    const refusal = async () => {
      await page.click('#go');
      await failed(page);
      return { message: await message(page), blamed: await blamed(), address: await page.evaluate(() => location.hash) };
    };
    await page.fill('#prompt', 'q'.repeat(50));
    await page.waitForSelector('#fit', { state: 'visible' });
    seen.count = await page.textContent('#count');
    seen.offer = await page.textContent('#fit');
    seen.tooMany = await refusal();
    await page.click('#fit');
    seen.taken = await page.$eval('#tokens', field => field.value);
    seen.gone = await page.isHidden('#fit');
    await page.click('#go');
    await done(page);
    seen.tokens = (await pane(page, 'a')).tokens;
    await page.fill('#prompt', 'q'.repeat(200));
    await counted('leave no room');
    seen.noRoom = await refusal();
    await page.fill('#prompt', 'q'.repeat(10000));
    await counted('fit');
    seen.long = await page.textContent('#count');
    seen.tooLong = await refusal();
    await page.fill('#prompt', PROMPT);
    await counted('may follow');
    await page.click('#go');
    await done(page);
    seen.after = (await pane(page, 'a')).text;
  },

  /** A phone, on which settings are folded when they come. */
  async narrow() {
    const page = await open({ viewport: { width: 390, height: 800 } });
    await known(page);
    await page.click('#settings > summary');
    seen.sides = await page.$$eval('.sides fieldset', boxes => boxes.map(box => Math.round(box.getBoundingClientRect().height)));
    seen.mode = await page.isVisible('#mode');
    await shot(page, 'narrow');
  },

  /** A link with a policy that the server does not have. */
  async unknown() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=20&a.mode=early-exit&a.policy=none-such`);
    await known(page);
    await page.selectOption('#mode-b', 'early-exit');
    seen.policies = await page.$$eval('#policy-b option', options => options.map(option => option.value));
    seen.thresholds = [];
    for (const policy of ['max-probability', 'margin', 'entropy']) {
      await page.selectOption('#policy-b', policy);
      seen.thresholds.push(await page.$eval('#threshold-b', range => [range.value, range.max]));
    }
    await page.click('#go');
    await failed(page);
    seen.refusal = await message(page);
  },

  async key() {
    const page = await open();
    await failed(page);
    seen.wanted = await message(page);
    await page.fill('#key', 'schlüssel');
    await page.click('#go');
    await page.waitForFunction(() => /character/.test(document.querySelector('#message').textContent));
    seen.odd = await message(page);
    await page.fill('#key', 'wrong');
    await page.click('#go');
    await page.waitForFunction(() => /does not take/.test(document.querySelector('#message').textContent));
    await page.fill('#key', 'right');
    await page.click('#go'); // the first click
    await done(page);
    seen.tokens = (await pane(page, 'a')).tokens;
    seen.link = await page.evaluate(() => location.href);
  },

  async keyboard() {
    const page = await open({ viewport: { width: 320, height: 800 } }, `prompt=${encodeURIComponent(PROMPT)}&tokens=48&a.mode=early-exit&a.threshold=0.02`);
    await known(page);
    await page.focus('#prompt');
    await page.keyboard.press('Control+Enter');
    await done(page);
    await page.focus('#go');
    await page.keyboard.press('Enter');
    await done(page);
    seen.focusAfterRun = await page.evaluate(() => document.activeElement.id);
    const place = () => page.evaluate(() => [...document.querySelectorAll('#pane-a .token')].indexOf(document.activeElement));
    await page.focus('#pane-a .token >> nth=0');
    seen.places = [];
    for (const key of ['ArrowRight', 'End', 'Home', 'ArrowDown', 'ArrowUp']) {
      await page.keyboard.press(key);
      seen.places.push(await place());
    }
    await page.keyboard.press('Enter');
    seen.opened = await page.textContent('#details caption');
    await page.keyboard.press('Escape');
    seen.tipGone = await page.isHidden('#tip');
    await page.focus('#lens-box td[tabindex="0"]');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('End');
    seen.cell = await page.evaluate(() => document.activeElement.getAttribute('aria-label'));
    await page.keyboard.press('Enter');
    seen.openedInLens = await page.textContent('#details caption');
    // A new run takes the token that had the focus; the focus stays in the text.
    await page.focus('#pane-a .token >> nth=0');
    await page.evaluate(() => document.querySelector('#form').requestSubmit());
    await done(page);
    seen.focusKept = await page.evaluate(() => document.querySelector('#pane-a .text').contains(document.activeElement));
  },

  async ends() {
    const page = await open();
    await known(page);
    await page.click('#go');
    await done(page);
    seen.a = await pane(page, 'a');
    seen.b = await pane(page, 'b');
    seen.heads = await page.$$eval('#lens-box thead th', heads => heads.map(head => head.textContent));
  },

  async calibrated() {
    const page = await open({}, `prompt=${encodeURIComponent(PROMPT)}&tokens=20&a.mode=server&b.mode=speculative`);
    await known(page);
    await page.click('#go');
    await done(page);
    seen.server = await pane(page, 'a');
    seen.lensOf = await page.$eval('#lens-of', list => list.value);
    await page.selectOption('#lens-of', 'a');
    seen.frames = await frames(page);
    seen.agreement = await page.textContent('#agreement');

    // The same, as settings of one's own.
    await page.selectOption('#mode', 'early-exit');
    await done(page);
    await page.click('#side-a summary >> text=Exits');
    await page.click('text=Use the calibrated thresholds');
    await done(page);
    seen.taken = await pane(page, 'a');
    seen.slider = await page.isDisabled('#threshold');
    seen.address = await page.evaluate(() => location.hash);
    await page.reload();
    await page.waitForSelector('#pane-a .token');
    seen.kept = await pane(page, 'a');
    await page.click('#side-a summary >> text=Exits');
    await page.fill('#threshold-1', '0.9');
    await page.press('#threshold-1', 'Tab');
    await done(page);
    seen.typed = await pane(page, 'a');
  },

  async curve() {
    const page = await open();
    await known(page);
    await page.click('#go');
    await done(page);
    await page.evaluate(() => {
      globalThis.grown = [];
      new MutationObserver(() => globalThis.grown.push(document.querySelectorAll('#curve-chart .dot').length))
        .observe(document.querySelector('#curve-chart'), { childList: true });
    });
    const over = () => page.waitForFunction(() => /Agreement is given|Not to be trusted/.test(document.querySelector('#curve-state').textContent), null, { timeout: 60000 });
    await page.click('#curve-go');
    await over();
    seen.grown = await page.evaluate(() => globalThis.grown);
    seen.state = await page.textContent('#curve-state');
    seen.points = await page.$$eval('#curve-chart .dot', dots => dots.map(dot => dot.cx.baseVal.value));
    seen.spreads = await page.$$eval('#curve-chart .spread', lines => lines.length);
    seen.labels = await page.$$eval('#curve-chart .threshold', texts => texts.map(text => Number(text.textContent)));
    const beyond = () => page.$eval('#curve-chart svg', svg => [...svg.querySelectorAll('*')].filter(part => {
      const [box, room] = [part.getBoundingClientRect(), svg.getBoundingClientRect()];
      return box.left < room.left - 1 || box.right > room.right + 1 || box.top < room.top - 1 || box.bottom > room.bottom + 1;
    }).map(part => part.outerHTML));
    const together = () => page.$eval('#curve-chart svg', svg => {
      const boxes = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
      return boxes.flatMap(([one, a], i) => boxes.slice(i + 1).filter(([, b]) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3).map(([other]) => `${one} on ${other}`));
    });
    await shot(page, 'curve');
    seen.beyond = await beyond();
    seen.together = await together();
    await page.setViewportSize({ width: 320, height: 800 });
    await page.waitForFunction(() => document.querySelector('#curve-chart svg').viewBox.baseVal.width < 320);
    seen.beyond.push(...await beyond());
    seen.together.push(...await together());
    await shot(page, 'curve-320');
    await page.setViewportSize({ width: 1200, height: 900 });

    // Its texts are those of the panes: it stays while thresholds move, and goes with the prompt.
    await move(page, .05);
    await done(page);
    seen.stays = await page.isVisible('#curve');

    // Stopped half way, the page goes on.
    await page.click('#curve-go');
    await page.waitForFunction(() => document.querySelectorAll('#curve-chart .dot').length === 1);
    await page.click('#stop');
    await page.waitForFunction(() => document.querySelector('#curve-state').textContent === 'stopped');
    await page.click('#curve-go');
    await page.fill('#prompt', 'the dog and');
    await page.click('#go'); // takes its place
    await done(page);
    seen.gone = await page.isHidden('#curve');
    seen.text = (await pane(page, 'b')).text;
  },

  async looks() {
    const axe = await readFile(new URL(import.meta.resolve('axe-core')), 'utf8');
    const faults = async page => {
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      return violations.map(fault => `${fault.id}: ${fault.nodes.slice(0, 2).map(node => node.html.slice(0, 160)).join(' | ')}`);
    };
    const wide = page => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    const widest = page => page.evaluate(() => [...document.querySelectorAll('body *')]
      .filter(box => box.getBoundingClientRect().right > document.documentElement.clientWidth && !box.closest('#lens-box, #details'))
      .slice(0, 3).map(box => box.outerHTML.slice(0, 80)).join(' | '));
    seen.faults = [];
    seen.tooWide = [];
    for (const colorScheme of ['light', 'dark']) {
      const page = await open({ colorScheme, viewport: { width: 1200, height: 900 } });
      await known(page);
      seen.faults.push(...await faults(page));
      await page.click('#go');
      await done(page);
      await page.click('#pane-a .token >> nth=3');
      await page.$$eval('details', all => all.forEach(one => { one.open = true; }));
      seen.faults.push(...await faults(page));
      for (const width of [320, 375, 500, 768, 1200, 1600]) {
        await page.setViewportSize({ width, height: 800 });
        // The page places its tip anew with the frame after a resize.
        await page.evaluate(() => new Promise(placed => requestAnimationFrame(() => requestAnimationFrame(placed))));
        const over = await wide(page);
        if (over > 0) {
          seen.tooWide.push(`${width} ${colorScheme}: ${over} ${await widest(page)}`);
        }
        if (folder) {
          await shot(page, `${width}-${colorScheme}`);
        }
      }
    }

    // The scale: an order in grey too, for many exits; the mark gets heavier.
    const page = await open();
    await known(page);
    seen.scale = await page.evaluate(async () => {
      const { paint } = await import('./view.js');
      const context = document.createElement('canvas').getContext('2d');
      const heads = [...Array.from({ length: 12 }, (_, i) => `exit_${2 * i + 1}`), 'final'];
      return heads.slice(0, -1).map(head => {
        const box = document.createElement('span');
        paint(box, head, heads, 'exit', 'mark');
        document.body.append(box);
        const style = getComputedStyle(box);
        context.fillStyle = style.backgroundColor;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
        return { grey: .2126 * r + .7152 * g + .0722 * b, mark: parseFloat(style.borderBottomWidth) };
      });
    });
    const entries = await page.evaluate(() => performance.getEntriesByType('resource').map(entry => entry.decodedBodySize)
      .concat(performance.getEntriesByType('navigation').map(entry => entry.decodedBodySize)));
    seen.weight = entries.reduce((sum, size) => sum + size, 0);
  },
};

await scenarios[scenario]();
await browser.close();
console.log(JSON.stringify(seen));
